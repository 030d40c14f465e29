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
	inside, outside, err := t.pipeEnds(v)
	if err != nil {
		return nil, err
	}
	if outside {
		return takeOutside(t, v, "the other end of this pipe")
	}
	size, err := unix.FcntlInt(uintptr(v.fd), unix.F_GETPIPE_SZ, 0)
	if err != nil {
		return nil, fmt.Errorf("F_GETPIPE_SZ: %w", err)
	}
	p := &snapshot.Pipe{Ino: v.st.Ino, Capacity: size}
	if !strings.HasPrefix(v.link, "pipe:") {
		path, ok := v.named()
		if !ok {
			t.refuse(v.object(), "the FIFO has been removed", "")
			return nil, nil
		}
		p.FIFO, p.Dev = path, snapshot.Hex(v.st.Dev)
	}
	key := fileKey{v.st.Dev, v.st.Ino}
	if t.pipes[key] || inside == nil {
		return p, nil
	}
	t.pipes[key] = true
	p.Content, p.Packets, err = peekPipe(inside.fd, size)
	return p, err
}

// pipeEnds returns a reading end that the tree has, nil when it has none, and
// whether an end is held by somebody outside.
func (t *target) pipeEnds(v *view) (reader *view, outside bool, err error) {
	var writer *view
	for _, o := range t.byID {
		if o.st.Dev != v.st.Dev || o.st.Ino != v.st.Ino || !isPipe(o) || isPath(o) {
			continue
		}
		if mode := o.accessMode(); mode != unix.O_WRONLY {
			reader = o
		}
		if mode := o.accessMode(); mode != unix.O_RDONLY {
			writer = o
		}
	}
	switch {
	case reader == nil:
		gone, err := pollFor(writer.fd, unix.POLLERR)
		return nil, !gone, err
	case writer == nil:
		gone, err := pollFor(reader.fd, unix.POLLHUP)
		return reader, !gone, err
	}
	return reader, false, nil
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
