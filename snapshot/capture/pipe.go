package capture

import (
	"errors"
	"fmt"
	"strings"

	"github.com/crtrace/crtrace/snapshot"
	"golang.org/x/sys/unix"
)

// isPipe matches pipes and FIFOs.
func isPipe(v *view) bool { return v.st.Mode&unix.S_IFMT == unix.S_IFIFO }

// takePipe collects one end of a pipe. The content is taken once for each pipe,
// by tee(2), which leaves it where it is.
func takePipe(t *target, v *view) (snapshot.Detail, error) {
	ends, err := t.pipeEnds(v)
	if err != nil {
		return nil, err
	}
	if ends.outside {
		return takeOutside(t, v, "the other end of this pipe", together)
	}
	size, err := unix.FcntlInt(uintptr(v.fd), unix.F_GETPIPE_SZ, 0)
	if err != nil {
		return nil, fmt.Errorf("F_GETPIPE_SZ: %w", err)
	}
	p := &snapshot.Pipe{Ino: v.st.Ino, Capacity: size, Fresh: ends.fresh}
	if !strings.HasPrefix(v.link, "pipe:") {
		path, ok := v.named()
		if !ok {
			t.refuse(v.object(), "the FIFO has been removed", "")
			return nil, nil
		}
		p.FIFO, p.Dev = path, snapshot.Hex(v.st.Dev)
	}
	key := fileKey{v.st.Dev, v.st.Ino}
	if t.pipes[key] || ends.reader == nil {
		return p, nil
	}
	t.pipes[key] = true
	p.Content, p.Packets, err = peekPipe(ends.reader.fd, size)
	return p, err
}

// pipeHolders is what is known about who holds the ends of a pipe.
type pipeHolders struct {
	reader  *view // a reading end in the tree, nil without one
	outside bool  // an end is held by somebody outside
	fresh   bool  // there is no writer and, since the reader opened the FIFO, was none
}

// pipeEnds looks for the ends of a pipe.
func (t *target) pipeEnds(v *view) (pipeHolders, error) {
	var ends pipeHolders
	var writer *view
	for _, o := range t.byID {
		if o.st.Dev != v.st.Dev || o.st.Ino != v.st.Ino || !isPipe(o) || isPath(o) {
			continue
		}
		if mode := o.accessMode(); mode != unix.O_WRONLY {
			ends.reader = o
		}
		if mode := o.accessMode(); mode != unix.O_RDONLY {
			writer = o
		}
	}
	switch {
	case ends.reader == nil:
		gone, err := pollFor(writer.fd, unix.POLLERR)
		ends.outside = !gone
		return ends, err
	case writer != nil:
		return ends, nil
	}
	gone, err := pollFor(ends.reader.fd, unix.POLLHUP)
	if err != nil || gone {
		return ends, err
	}
	ends.fresh, err = atEnd(ends.reader.fd)
	ends.outside = !ends.fresh
	return ends, err
}

// atEnd tells whether a pipe is empty and has no writer. A FIFO that was opened
// before any writer came shows it only to those who read: by tee(2) nothing is taken.
func atEnd(fd int) (bool, error) {
	var copyTo [2]int
	if err := unix.Pipe2(copyTo[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return false, fmt.Errorf("pipe2: %w", err)
	}
	defer unix.Close(copyTo[0])
	defer unix.Close(copyTo[1])
	n, err := unix.Tee(fd, copyTo[1], 1, unix.SPLICE_F_NONBLOCK)
	if errors.Is(err, unix.EAGAIN) {
		return false, nil
	}
	return n == 0 && err == nil, err
}

// pollFor tells whether an event is signalled for a descriptor.
func pollFor(fd int, event int16) (bool, error) {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(fds, 0)
		if !errors.Is(err, unix.EINTR) {
			return fds[0].Revents&event != 0, err
		}
	}
}

// peekPipe copies the content of a pipe without taking anything out. A read gets
// all of a plain pipe's content, but only one packet of what was written in
// packet mode: several reads mean packets, whose lengths are returned then.
func peekPipe(fd, size int) (content []byte, lengths []int, err error) {
	var copyTo [2]int
	if err := unix.Pipe2(copyTo[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, nil, fmt.Errorf("pipe2: %w", err)
	}
	defer unix.Close(copyTo[0])
	defer unix.Close(copyTo[1])
	if _, err := unix.FcntlInt(uintptr(copyTo[1]), unix.F_SETPIPE_SZ, size); err != nil {
		return nil, nil, fmt.Errorf("F_SETPIPE_SZ to %d: %w", size, err)
	}
	_, err = unix.Tee(fd, copyTo[1], size, unix.SPLICE_F_NONBLOCK)
	if errors.Is(err, unix.EAGAIN) {
		return nil, nil, nil // empty
	}
	if err != nil {
		return nil, nil, fmt.Errorf("tee: %w", err)
	}
	buf := make([]byte, size)
	for {
		n, err := unix.Read(copyTo[0], buf)
		if errors.Is(err, unix.EAGAIN) || n == 0 && err == nil {
			if len(lengths) == 1 {
				lengths = nil
			}
			return content, lengths, nil
		}
		if err != nil {
			return nil, nil, fmt.Errorf("read the copy: %w", err)
		}
		content = append(content, buf[:n]...)
		lengths = append(lengths, n)
	}
}
