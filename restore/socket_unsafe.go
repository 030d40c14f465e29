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

// connectRaw connects a socket to a raw struct sockaddr.
func connectRaw(fd int, addr []byte) error {
	for {
		_, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(addr))), uintptr(len(addr)))
		switch errno {
		case unix.EINTR:
		case 0:
			return nil
		default:
			return errno
		}
	}
}
