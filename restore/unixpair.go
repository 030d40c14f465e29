package restore

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/crtrace/crtrace/snapshot"
	"golang.org/x/sys/unix"
)

// pair is a pair of connected unix sockets whose queues are still to be filled: that
// may take descriptions that are opened later.
type pair struct {
	ends    [2]int
	u, peer *snapshot.UnixPair // what they are; peer is nil when the second end was closed
}

// openUnixPair makes one end of a pair of unix sockets. The first end that comes
// makes both.
func openUnixPair(b *broker, d *snapshot.Description) (int, error) {
	u := d.Detail.(*snapshot.UnixPair)
	if fd, ok := b.pairs[u.Ino]; ok {
		return fd, setStatus(fd, d)
	}
	peer := b.pairPeer(u)
	ends, err := b.connectPair(u, peer)
	if err != nil {
		return -1, err
	}
	b.pairs[u.Ino] = b.keep(ends[0])
	b.unfilled = append(b.unfilled, pair{[2]int{ends[0], b.keep(ends[1])}, u, peer})
	if peer != nil {
		b.pairs[u.Peer] = ends[1]
		err = setPairOptions(ends[1], peer)
	}
	if err == nil {
		err = setPairOptions(ends[0], u)
	}
	if err != nil {
		return -1, err
	}
	return ends[0], setStatus(ends[0], d)
}

// fillPairs fills the queues of all pairs, once everything is open that may be in
// flight in them, and shuts down what was shut down.
func (b *broker) fillPairs() error {
	for _, p := range b.unfilled {
		err := b.fillPair(p.ends[1], p.u)
		if p.peer != nil && err == nil {
			err = b.fillPair(p.ends[0], p.peer)
		}
		switch {
		case err != nil:
		case p.peer == nil:
			err = b.drop(p.ends[1])
		default:
			err = shutPair(p.ends[1], p.peer)
		}
		if err == nil {
			err = shutPair(p.ends[0], p.u)
		}
		if err != nil {
			return fmt.Errorf("unix socket %d: %w", p.u.Ino, err)
		}
	}
	return nil
}

// connectPair connects the two ends of a pair, by names where an end has one. peer
// is nil when the other end was closed.
func (b *broker) connectPair(u, peer *snapshot.UnixPair) (ends [2]int, err error) {
	if peer == nil {
		peer = &snapshot.UnixPair{Type: u.Type}
	}
	switch {
	case len(u.Local) == 0 && len(peer.Local) == 0:
		ends, err = unix.Socketpair(unix.AF_UNIX, u.Type|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			err = fmt.Errorf("socketpair: %w", err)
		}
	case len(u.Local) == 0 || b.accepted(peer) && !b.accepted(u):
		ends[1], ends[0], err = b.connectNamed(peer, u)
	default:
		ends[0], ends[1], err = b.connectNamed(u, peer)
	}
	return ends, err
}

// accepted tells whether an end has the name of a listener, and so was accepted.
func (b *broker) accepted(u *snapshot.UnixPair) bool {
	return slices.ContainsFunc(b.m.Descriptions, func(d snapshot.Description) bool {
		s, ok := d.Detail.(*snapshot.Socket)
		return ok && s.Listen && bytes.Equal(s.Local, u.Local)
	})
}

// connectNamed has one end accept the connection of the other, through a listener
// of the name that the accepting end shows. What has that name in the file
// system now is put aside for the moment.
func (b *broker) connectNamed(server, client *snapshot.UnixPair) (accepted, connected int, err error) {
	listener, err := unix.Socket(unix.AF_UNIX, server.Type|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, -1, fmt.Errorf("socket: %w", err)
	}
	defer unix.Close(listener)
	if connected, err = unix.Socket(unix.AF_UNIX, client.Type|unix.SOCK_CLOEXEC, 0); err != nil {
		return -1, -1, fmt.Errorf("socket: %w", err)
	}
	err = b.inDirectory(server, server.Local, func() error {
		return withName(server.Local, func() error {
			if err := errors.Join(bindRaw(listener, server.Local), unix.Listen(listener, 1)); err != nil {
				return fmt.Errorf("listen: %w", err)
			}
			bind := func() error { return nil }
			if len(client.Local) > 0 {
				bind = func() error { return bindRaw(connected, client.Local) }
			}
			if err := withName(client.Local, bind); err != nil {
				return fmt.Errorf("bind: %w", err)
			}
			if err := connectRaw(connected, server.Local); err != nil {
				return fmt.Errorf("connect: %w", err)
			}
			return nil
		})
	})
	if err == nil {
		accepted, _, err = unix.Accept4(listener, unix.SOCK_CLOEXEC)
	}
	if err != nil {
		return -1, -1, errors.Join(err, unix.Close(connected))
	}
	return accepted, connected, nil
}

// withName runs fn, which binds a socket to a name, with nothing in the way in the
// file system, and leaves the file system as it was.
func withName(addr []byte, fn func() error) error {
	name := pathOf(addr)
	if name == "" {
		return fn()
	}
	aside := fmt.Sprintf("%s.%016x", name, rand.Uint64())
	err := unix.Rename(name, aside)
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("put %s aside: %w", name, err)
	}
	there := err == nil
	err = fn()
	if there {
		return errors.Join(err, unix.Rename(aside, name))
	}
	if gone := unix.Unlink(name); err == nil && gone != nil {
		return fmt.Errorf("remove %s: %w", name, gone)
	}
	return err
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
func (b *broker) fillPair(from int, to *snapshot.UnixPair) error {
	flying := map[int][]int{}
	for _, r := range to.Rights {
		flying[r.Message] = r.Descriptions
	}
	for i, message := range to.Queue {
		rights, err := b.rights(flying[i])
		if err == nil {
			err = sendRaw(from, message, rights, nil)
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
