package tracer

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// QueueAttributes are those of a POSIX message queue.
type QueueAttributes struct {
	MaxMessages, MessageSize int64
	Messages                 int64 // that wait in it
}

// QueueAttributesOf asks for the attributes of the queue that a descriptor leads to.
func QueueAttributesOf(fd int) (QueueAttributes, error) {
	var a [8]int64 // struct mq_attr: flags, maxmsg, msgsize, curmsgs
	_, _, errno := unix.Syscall(unix.SYS_MQ_GETSETATTR, uintptr(fd), 0, uintptr(unsafe.Pointer(&a[0])))
	if errno != 0 {
		return QueueAttributes{}, errno
	}
	return QueueAttributes{a[1], a[2], a[3]}, nil
}
