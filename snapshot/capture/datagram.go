package capture

import (
	"errors"
	"fmt"

	"github.com/crtrace/crtrace/snapshot"
	"github.com/crtrace/crtrace/tracer"
	"golang.org/x/sys/unix"
)

// isDatagram tells whether a socket keeps its queue by messages with senders.
func isDatagram(s *snapshot.Socket) bool { return s.Type == unix.SOCK_DGRAM }

// takePeer notes whom a datagram socket is connected to. That is no more than an
// address: a restore connects to it again, whoever has it.
func takePeer(v *view, s *snapshot.Socket) error {
	peer, err := tracer.PeerName(v.fd)
	if errors.Is(err, unix.ENOTCONN) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("getpeername: %w", err)
	}
	s.Peer = peer
	return nil
}

// takeDatagrams peeks at what a datagram socket has received. It stays where it is.
func (t *target) takeDatagrams(v *view, s *snapshot.Socket) error {
	if t.surveying() || !isDatagram(s) {
		return nil
	}
	return peeking(v.fd, func() error {
		buf, control := make([]byte, 1<<20), make([]byte, 4096)
		for {
			m, err := receive(v.fd, buf, control, unix.MSG_PEEK|unix.MSG_DONTWAIT)
			if errors.Is(err, unix.EAGAIN) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("peek: %w", err)
			}
			if m.truncated {
				t.refuse(v.object(), "a datagram in its queue is too large", tryAgain)
				return nil
			}
			if closeRights(control[:m.control]) {
				t.refuse(v.object(), "descriptors are in flight in its queue", tryAgain)
				return nil
			}
			if s.Unlinked {
				t.refuse(v.object(), "it holds datagrams, and nobody can send any to it without its name", tryAgain)
				return nil
			}
			s.Queue = append(s.Queue, snapshot.Datagram{From: named(m.from), Data: append([]byte{}, buf[:m.size]...)})
		}
	})
}

// named returns the address of a sender, nil if that is no more than its family.
func named(from []byte) []byte {
	const family = 2
	if len(from) <= family {
		return nil
	}
	return from
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
