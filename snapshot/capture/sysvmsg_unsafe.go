package capture

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

// copyMessage reads the nth message of a queue, which stays there.
func copyMessage(id, n int, data []byte) (kind int64, size int, err error) {
	const nowait, msgCopy, head = 0o4000, 0o40000, 8 // IPC_NOWAIT, MSG_COPY, the type
	b := make([]byte, head+len(data))
	got, _, errno := unix.Syscall6(unix.SYS_MSGRCV, uintptr(id), uintptr(unsafe.Pointer(&b[0])), uintptr(len(data)), uintptr(n), nowait|msgCopy, 0)
	if errno != 0 {
		return 0, 0, errno
	}
	return int64(binary.LittleEndian.Uint64(b)), copy(data, b[head:head+int(got)]), nil
}
