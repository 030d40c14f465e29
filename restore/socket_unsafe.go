package restore

import (
	"fmt"
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

// sendRaw sends a message with control messages without waiting: to a raw struct
// sockaddr, or to the peer if that is empty.
func sendRaw(fd int, data, control, to []byte) error {
	iov := unix.Iovec{Base: unsafe.SliceData(data), Len: uint64(len(data))}
	msg := unix.Msghdr{
		Name: unsafe.SliceData(to), Namelen: uint32(len(to)), Iov: &iov, Iovlen: 1,
		Control: unsafe.SliceData(control), Controllen: uint64(len(control)),
	}
	for {
		n, _, errno := unix.Syscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&msg)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		switch {
		case errno == unix.EINTR:
		case errno != 0:
			return errno
		case int(n) < len(data):
			return fmt.Errorf("%d of %d bytes went in", n, len(data))
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
