package restore

import (
	"errors"
	"fmt"

	"github.com/crtrace/crtrace/snapshot"
	"golang.org/x/sys/unix"
)

// pipe is a pipe that the broker has made: a reading and a writing end of its
// own, and which of them pipe(2) has made.
type pipe struct {
	ends     [2]int
	original [2]bool
}

// openPipe opens one end of a pipe. The first end that comes makes the pipe,
// with its content; every end is a description of its own.
func openPipe(b *broker, d *snapshot.Description) (int, error) {
	detail := d.Detail.(*snapshot.Pipe)
	if detail.Fresh {
		return openFreshFIFO(b, d, detail.FIFO)
	}
	key := detail.Ino ^ uint64(detail.Dev)<<32
	p, ok := b.pipes[key]
	if !ok {
		ends, err := makePipe(detail)
		if err != nil {
			return -1, err
		}
		p = &pipe{ends, [2]bool{detail.FIFO == "", detail.FIFO == ""}}
		b.pipes[key] = p
		if err := fillPipe(ends[1], detail); err != nil {
			return -1, err
		}
	}
	fd, err := p.take(d)
	if err != nil {
		return -1, fmt.Errorf("open the end of a pipe: %w", err)
	}
	b.keep(fd)
	return fd, setStatus(fd, d)
}

// openFreshFIFO opens a reading end while there is no writer, as it was at first.
func openFreshFIFO(b *broker, d *snapshot.Description, path string) (int, error) {
	if err := ensureFIFO(path); err != nil {
		return -1, err
	}
	fd, err := unix.Open(path, openFlags(d)|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return -1, fmt.Errorf("open the FIFO %s: %w", path, err)
	}
	b.keep(fd)
	return fd, setStatus(fd, d)
}

// take returns an end for a description. One that pipe(2) has made lacks
// O_LARGEFILE, which open(2) always sets; it can be given away once.
func (p *pipe) take(d *snapshot.Description) (int, error) {
	const largeFile = 0x8000
	end := 0
	if d.Flags&unix.O_ACCMODE == unix.O_WRONLY {
		end = 1
	}
	again, err := reopen(p.ends[end], openFlags(d)&^unix.O_DIRECT|unix.O_NONBLOCK)
	if err != nil || d.Flags&largeFile != 0 || !p.original[end] {
		return again, err
	}
	first := p.ends[end]
	p.ends[end], p.original[end] = again, false
	return first, nil
}

// makePipe makes a pipe, or opens a FIFO so that both its ends are held.
func makePipe(p *snapshot.Pipe) (ends [2]int, err error) {
	if p.FIFO == "" {
		if err := unix.Pipe2(ends[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
			return ends, fmt.Errorf("pipe2: %w", err)
		}
	} else {
		if err := ensureFIFO(p.FIFO); err != nil {
			return ends, err
		}
		for i := range ends {
			if ends[i], err = unix.Open(p.FIFO, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0); err != nil {
				return ends, fmt.Errorf("open the FIFO %s: %w", p.FIFO, err)
			}
		}
	}
	if p.Capacity > 0 {
		if _, err := unix.FcntlInt(uintptr(ends[1]), unix.F_SETPIPE_SZ, p.Capacity); err != nil {
			return ends, fmt.Errorf("F_SETPIPE_SZ to %d: %w", p.Capacity, err)
		}
	}
	return ends, nil
}

// ensureFIFO makes a FIFO that has been removed since.
func ensureFIFO(path string) error {
	err := unix.Mkfifo(path, 0o600)
	if err == nil || errors.Is(err, unix.EEXIST) {
		return nil
	}
	return fmt.Errorf("make the FIFO %s: %w", path, err)
}

// fillPipe writes the content back, packet by packet where it had packets.
func fillPipe(fd int, p *snapshot.Pipe) error {
	if len(p.Packets) == 0 {
		return writePipe(fd, p.Content)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFL, unix.O_NONBLOCK|unix.O_DIRECT); err != nil {
		return fmt.Errorf("packet mode: %w", err)
	}
	rest := p.Content
	for _, n := range p.Packets {
		if n < 0 || n > len(rest) {
			return fmt.Errorf("a packet of %d bytes in a content of %d", n, len(rest))
		}
		if err := writePipe(fd, rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

func writePipe(fd int, data []byte) error {
	if len(data) == 0 {
		return nil
	}
	n, err := unix.Write(fd, data)
	if err == nil && n < len(data) {
		err = fmt.Errorf("%d of %d bytes went in", n, len(data))
	}
	if err != nil {
		return fmt.Errorf("write the content of a pipe: %w", err)
	}
	return nil
}
