package tracer

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

// MessageQueueLimit returns how many bytes of messages a System V queue may hold.
func MessageQueueLimit(id int) (int64, error) {
	const size, qbytes = 120, 88 // of struct msqid64_ds; msg_qbytes in it
	var b [size]byte
	_, _, errno := unix.Syscall(unix.SYS_MSGCTL, uintptr(id), unix.IPC_STAT, uintptr(unsafe.Pointer(&b[0])))
	if errno != 0 {
		return 0, errno
	}
	return int64(binary.LittleEndian.Uint64(b[qbytes:])), nil
}
