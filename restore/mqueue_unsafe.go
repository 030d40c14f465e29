package restore

import (
	"unsafe"

	"github.com/crtrace/crtrace/tracer"
	"golang.org/x/sys/unix"
)

// mqOpen opens a queue by its name, without the slash; attributes are for a new one.
func mqOpen(name string, flags int, mode uint32, attributes *tracer.QueueAttributes) (int, error) {
	p, err := unix.BytePtrFromString(name)
	if err != nil {
		return -1, err
	}
	var a [8]int64 // struct mq_attr: flags, maxmsg, msgsize, curmsgs
	at := unsafe.Pointer(nil)
	if attributes != nil {
		a[1], a[2] = attributes.MaxMessages, attributes.MessageSize
		at = unsafe.Pointer(&a[0])
	}
	fd, _, errno := unix.Syscall6(unix.SYS_MQ_OPEN, uintptr(unsafe.Pointer(p)), uintptr(flags|unix.O_CLOEXEC), uintptr(mode), uintptr(at), 0, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}

// mqUnlink removes the name of a queue.
func mqUnlink(name string) error {
	p, err := unix.BytePtrFromString(name)
	if err != nil {
		return err
	}
	if _, _, errno := unix.Syscall(unix.SYS_MQ_UNLINK, uintptr(unsafe.Pointer(p)), 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// mqReceive takes a message of at most size bytes out of a queue.
func mqReceive(fd, size int) (data []byte, priority uint32, err error) {
	b := make([]byte, max(size, 1))
	n, _, errno := unix.Syscall6(unix.SYS_MQ_TIMEDRECEIVE, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)),
		uintptr(unsafe.Pointer(&priority)), 0, 0)
	if errno != 0 {
		return nil, 0, errno
	}
	return b[:n], priority, nil
}
