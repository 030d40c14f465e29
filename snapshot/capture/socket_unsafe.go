package capture

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// getsockname returns the raw struct sockaddr of a socket.
func getsockname(fd int) ([]byte, error) { return name(unix.SYS_GETSOCKNAME, fd) }

// getpeername returns the raw struct sockaddr of a socket's peer.
func getpeername(fd int) ([]byte, error) { return name(unix.SYS_GETPEERNAME, fd) }

func name(call uintptr, fd int) ([]byte, error) {
	buf := make([]byte, unix.SizeofSockaddrAny)
	size := uint32(len(buf))
	_, _, errno := unix.RawSyscall(call, uintptr(fd),
		uintptr(unsafe.Pointer(&buf[0])), uintptr(unsafe.Pointer(&size)))
	if errno != 0 {
		return nil, errno
	}
	return buf[:min(int(size), len(buf))], nil
}

// getsockopt returns the raw value of a socket option.
func getsockopt(fd, level, name int) ([]byte, error) {
	buf := make([]byte, 32)
	size := uint32(len(buf))
	_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(name),
		uintptr(unsafe.Pointer(&buf[0])), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return nil, errno
	}
	return buf[:min(int(size), len(buf))], nil
}
