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

// sendRaw sends a message to a raw struct sockaddr without waiting.
func sendRaw(fd int, data, to []byte) error {
	for {
		n, _, errno := unix.Syscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(data))), uintptr(len(data)),
			unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, uintptr(unsafe.Pointer(unsafe.SliceData(to))), uintptr(len(to)))
		switch {
		case errno == unix.EINTR:
		case errno != 0:
			return errno
		case int(n) < len(data):
			return unix.EMSGSIZE
		default:
			return nil
		}
	}
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
