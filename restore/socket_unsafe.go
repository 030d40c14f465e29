package restore

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// bindRaw binds a socket to a raw struct sockaddr.
func bindRaw(fd int, addr []byte) error {
	_, _, errno := unix.RawSyscall(unix.SYS_BIND, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(addr))), uintptr(len(addr)))
	if errno != 0 {
		return errno
	}
	return nil
}
