package capture

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// received tells what recvmsg(2) has received.
type received struct {
	size, control int    // bytes
	from          []byte // struct sockaddr
	truncated     bool   // the message, or what came with it, was larger
}

// receive calls recvmsg(2).
func receive(fd int, buf, control []byte, flags int) (received, error) {
	from := make([]byte, unix.SizeofSockaddrAny)
	iov := unix.Iovec{Base: unsafe.SliceData(buf), Len: uint64(len(buf))}
	msg := unix.Msghdr{
		Name: unsafe.SliceData(from), Namelen: uint32(len(from)), Iov: &iov, Iovlen: 1,
		Control: unsafe.SliceData(control), Controllen: uint64(len(control)),
	}
	for {
		n, _, errno := unix.Syscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&msg)), uintptr(flags))
		switch errno {
		case unix.EINTR:
		case 0:
			return received{
				size: int(n), control: int(msg.Controllen), from: from[:min(int(msg.Namelen), len(from))],
				truncated: msg.Flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0,
			}, nil
		default:
			return received{}, errno
		}
	}
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
