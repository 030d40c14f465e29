package tracer

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// queue sends a signal that carries a number.
func queue(pid, sig, value int) error {
	const siQueue = -1
	var si struct {
		signo, errno, code, _ int32
		pid                   int32
		uid                   uint32
		value                 uint64
		_                     [siginfoSize - 32]byte
	}
	si.signo, si.code, si.value = int32(sig), siQueue, uint64(uint32(value))
	si.pid, si.uid = int32(unix.Getpid()), uint32(unix.Getuid())
	_, _, errno := unix.Syscall(unix.SYS_RT_SIGQUEUEINFO, uintptr(pid), uintptr(sig), uintptr(unsafe.Pointer(&si)))
	if errno != 0 {
		return errno
	}
	return nil
}
