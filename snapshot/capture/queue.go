package capture

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// message is what one call has put into a socket's queue; of a stream, bytes that
// a receiver may get at once.
type message struct {
	data []byte
	from []byte // struct sockaddr of the sender
	// fds are descriptors of ours for those that are in flight with it, flying what
	// they lead to, once that is known.
	fds    []int
	flying []*view
}

// errTruncated says that a message does not fit into any buffer that we have.
var errTruncated = errors.New("a message in its queue, or what comes with it, is too large")

// bufferLen is more than a message of a unix socket or a datagram can have.
const bufferLen = 1 << 20

// peekQueue copies what lies in the queue of a socket, which stays where it is.
func peekQueue(fd, typ int) (queue []message, err error) {
	buf, control := make([]byte, bufferLen), make([]byte, 4096)
	err = peeking(fd, func() error {
		for at := 0; ; {
			m, got, err := peekMessage(fd, buf, control)
			if errors.Is(err, unix.EAGAIN) {
				return nil
			}
			queue = append(queue, m)
			if err != nil {
				return fmt.Errorf("peek: %w", err)
			}
			if got == 0 && len(m.fds) == 0 && typ != unix.SOCK_DGRAM { // the other end is closed, or nothing is left
				queue = queue[:len(queue)-1]
				return nil
			}
			if len(m.fds) > 0 && typ == unix.SOCK_STREAM {
				if queue, err = splitLast(fd, at, queue); err != nil {
					return err
				}
			}
			at += got
		}
	})
	if err != nil {
		closeFlying(queue)
		return nil, err
	}
	return queue, nil
}

// peekMessage copies the message at the peek offset, which goes on behind it.
func peekMessage(fd int, buf, control []byte) (m message, size int, err error) {
	got, err := receive(fd, buf, control, unix.MSG_PEEK|unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return m, 0, err
	}
	m = message{data: append([]byte{}, buf[:got.size]...), from: got.from, fds: rightsIn(control[:got.control])}
	if got.truncated {
		return m, 0, errTruncated
	}
	return m, got.size, nil
}

// splitLast parts what was peeked at last, at some offset of a stream: bytes that
// came without descriptors, and those that some came with. A receiver gets both at
// once only if it asks for that many.
func splitLast(fd, at int, queue []message) ([]message, error) {
	last := &queue[len(queue)-1]
	size := len(last.data)
	plain, err := plainBytes(fd, at, size)
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEEK_OFF, at+size)
	}
	if err != nil {
		return queue, fmt.Errorf("peek: find where the descriptors are: %w", err)
	}
	if plain == 0 {
		return queue, nil
	}
	first := message{data: last.data[:plain:plain], from: last.from}
	last.data = last.data[plain:]
	return append(queue[:len(queue)-1], first, *last), nil
}

// plainBytes returns how many of size bytes at an offset of a stream come before
// those that have descriptors with them, which are the last ones. A peek of any
// length brings the descriptors, whether it gets to their bytes or not; but the
// kernel stops at a piece that it can't copy as a whole. So the last byte of the
// buffer is missing.
func plainBytes(fd, at, size int) (int, error) {
	const page = 4096
	room := (size + page - 1) / page * page
	area, err := unix.Mmap(-1, 0, room+page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return 0, fmt.Errorf("mmap: %w", err)
	}
	defer func() { _ = unix.Munmap(area) }() // nothing else is there
	if err := unix.Mprotect(area[room:], unix.PROT_NONE); err != nil {
		return 0, fmt.Errorf("mprotect: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEEK_OFF, at); err != nil {
		return 0, err
	}
	control := make([]byte, 4096)
	got, err := receive(fd, area[room-size+1:], control, unix.MSG_PEEK|unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
	if errors.Is(err, unix.EFAULT) {
		return 0, nil // the first piece has them
	}
	if err != nil {
		return 0, err
	}
	if fds := rightsIn(control[:got.control]); len(fds) > 0 {
		closeFlying([]message{{fds: fds}})
		return 0, errors.New("the kernel copies less than a piece")
	}
	return got.size, nil
}

// peeking runs fn, which peeks at a socket's queue from its begin on, message by
// message. The program's own peek offset is put back.
func peeking(fd int, fn func() error) (err error) {
	before, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEEK_OFF)
	if err != nil {
		return fmt.Errorf("SO_PEEK_OFF: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEEK_OFF, 0); err != nil {
		return fmt.Errorf("SO_PEEK_OFF: %w", err)
	}
	defer func() {
		err = errors.Join(err, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEEK_OFF, before))
	}()
	return fn()
}

// rightsIn returns the descriptors that a peeked message has brought. One that
// stands for the sender (SO_PASSPIDFD) is not the message's own and is closed.
func rightsIn(control []byte) []int {
	const scmPidFD = 4
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil
	}
	var all []int
	for i := range messages {
		if h := messages[i].Header; h.Level == unix.SOL_SOCKET && h.Type == scmPidFD {
			messages[i].Header.Type = unix.SCM_RIGHTS // of the same form
			if fds, err := unix.ParseUnixRights(&messages[i]); err == nil {
				closeFlying([]message{{fds: fds}})
			}
			continue
		}
		if fds, err := unix.ParseUnixRights(&messages[i]); err == nil {
			all = append(all, fds...)
		}
	}
	return all
}

// closeFlying closes the descriptors that peeked messages have brought.
func closeFlying(queue []message) {
	for i := range queue {
		for _, fd := range queue[i].fds {
			unix.Close(fd)
		}
	}
}
