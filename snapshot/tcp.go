package snapshot

import (
	"errors"
	"fmt"
)

// KindTCP is the kind of TCP connections whose other end is in the tree too, or was,
// and of those that are to be reset.
const KindTCP Kind = "tcp"

// TCP is one end of a TCP connection.
type TCP struct {
	Family   int    `json:"family"`
	Local    []byte `json:"local"` // struct sockaddr as getsockname gives it
	Peer     []byte `json:"peer"`  // as getpeername gives it
	Receive  []byte `json:"receive,omitempty"`
	Shutdown bool   `json:"shutdown,omitempty"`  // this end sends no more (shutdown SHUT_WR)
	PeerGone bool   `json:"peer_gone,omitempty"` // the other end was closed; what it had sent is in Receive
	// Reset: the other end was outside the tree, and the connection comes back as one
	// that the other end has reset.
	Reset bool `json:"reset,omitempty"`
	// Pending: the other end waits in the queue of a listener to be accepted.
	Pending bool           `json:"pending,omitempty"`
	Options []SocketOption `json:"options"`
}

// Kind implements Detail.
func (*TCP) Kind() Kind { return KindTCP }

// check implements Detail.
func (t *TCP) check(*validator) error {
	const shortest = 16 // struct sockaddr_in
	for _, a := range [][]byte{t.Local, t.Peer} {
		if len(a) < shortest || len(a) > maxSockaddr {
			return fmt.Errorf("an address of %d bytes", len(a))
		}
	}
	if t.Reset && (t.PeerGone || t.Pending) {
		return errors.New("a connection that is to be reset, with another fate")
	}
	if t.Pending && (t.PeerGone || len(t.Receive) > 0) {
		return fmt.Errorf("a connection that waits to be accepted has received %d bytes", len(t.Receive))
	}
	return checkOptions(t.Options)
}
