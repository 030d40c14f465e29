package restore

import (
	"fmt"

	"github.com/crtrace/crtrace/snapshot"
	"golang.org/x/sys/unix"
)

// openUnixPair makes one end of a pair of unix sockets. The first end that comes
// makes both, with what lay in their queues.
func openUnixPair(b *broker, d *snapshot.Description) (int, error) {
	u := d.Detail.(*snapshot.UnixPair)
	if fd, ok := b.pairs[u.Ino]; ok {
		return fd, setStatus(fd, d)
	}
	ends, err := unix.Socketpair(unix.AF_UNIX, u.Type|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("socketpair: %w", err)
	}
	b.pairs[u.Ino] = b.keep(ends[0])
	peer := b.pairPeer(u)
	if peer != nil {
		b.pairs[u.Peer] = b.keep(ends[1])
		err = setPairOptions(ends[1], peer)
	}
	if err == nil {
		err = setPairOptions(ends[0], u)
	}
	if err == nil {
		err = fillPair(ends[1], u)
	}
	if peer != nil && err == nil {
		err = fillPair(ends[0], peer)
	}
	switch {
	case err != nil:
	case peer == nil:
		err = unix.Close(ends[1])
	default:
		err = shutPair(ends[1], peer)
	}
	if err == nil {
		err = shutPair(ends[0], u)
	}
	if err != nil {
		return -1, err
	}
	return ends[0], setStatus(ends[0], d)
}

// pairPeer returns the description of the other end, nil when it was closed.
func (b *broker) pairPeer(u *snapshot.UnixPair) *snapshot.UnixPair {
	for i := range b.m.Descriptions {
		if p, ok := b.m.Descriptions[i].Detail.(*snapshot.UnixPair); ok && u.Peer != 0 && p.Ino == u.Peer {
			return p
		}
	}
	return nil
}

func setPairOptions(fd int, u *snapshot.UnixPair) error {
	for _, o := range u.Options {
		if err := setOption(fd, o); err != nil {
			return fmt.Errorf("socket option %d/%d: %w", o.Level, o.Name, err)
		}
	}
	return nil
}

// fillPair sends from one end what lay in the queue of the other.
func fillPair(from int, to *snapshot.UnixPair) error {
	for _, message := range to.Queue {
		n, err := unix.SendmsgN(from, message, nil, nil, unix.MSG_DONTWAIT)
		if err == nil && n < len(message) {
			err = fmt.Errorf("%d of %d bytes went in", n, len(message))
		}
		if err != nil {
			return fmt.Errorf("fill the queue: %w", err)
		}
	}
	return nil
}

// shutPair shuts down what was shut down.
func shutPair(fd int, u *snapshot.UnixPair) error {
	how := map[int]int{1: unix.SHUT_RD, 2: unix.SHUT_WR, 3: unix.SHUT_RDWR}
	if u.Shutdown == 0 || u.Peer == 0 {
		return nil
	}
	if err := unix.Shutdown(fd, how[u.Shutdown&3]); err != nil {
		return fmt.Errorf("shutdown: %w", err)
	}
	return nil
}
