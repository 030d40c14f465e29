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
	queue, err := v.messages(s.Type)
	if err != nil {
		return t.refuseQueue(v, err)
	}
	if len(queue) > 0 && s.Unlinked {
		t.refuse(v.object(), "it holds datagrams, and nobody can send any to it without its name", tryAgain)
		return nil
	}
	for i := range queue {
		m := &queue[i]
		s.Queue = append(s.Queue, snapshot.Datagram{From: named(m.from), Data: m.data, Rights: m.rights()})
	}
	return nil
}

// named returns the address of a sender, nil if that is no more than its family.
func named(from []byte) []byte {
	const family = 2
	if len(from) <= family {
		return nil
	}
	return from
}
