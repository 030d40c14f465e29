package tracer

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// SocketName returns the struct sockaddr of a socket as the kernel gives it
// (getsockname(2)); x/sys/unix would decode it, and does not know every family.
func SocketName(fd int) ([]byte, error) { return socketName(unix.SYS_GETSOCKNAME, fd) }

// PeerName returns that of the socket's peer (getpeername(2)).
func PeerName(fd int) ([]byte, error) { return socketName(unix.SYS_GETPEERNAME, fd) }

func socketName(call uintptr, fd int) ([]byte, error) {
	buf := make([]byte, unix.SizeofSockaddrAny)
	size := uint32(len(buf))
	_, _, errno := unix.RawSyscall(call, uintptr(fd),
		uintptr(unsafe.Pointer(&buf[0])), uintptr(unsafe.Pointer(&size)))
	if errno != 0 {
		return nil, errno
	}
	return buf[:min(int(size), len(buf))], nil
}
