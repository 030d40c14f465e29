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

// getpeername returns the raw struct sockaddr of a socket's peer.
func getpeername(fd int) ([]byte, error) {
	buf := make([]byte, unix.SizeofSockaddrAny)
	size := uint32(len(buf))
	_, _, errno := unix.RawSyscall(unix.SYS_GETPEERNAME, uintptr(fd), uintptr(unsafe.Pointer(&buf[0])), uintptr(unsafe.Pointer(&size)))
	if errno != 0 {
		return nil, errno
	}
	return buf[:min(int(size), len(buf))], nil
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
