package snapshot

import "fmt"

// KindSocket is the kind of sockets without a connection.
const KindSocket Kind = "socket"

// Socket is a socket without a connection: fresh, bound or listening, or one for
// datagrams.
type Socket struct {
	Family   int            `json:"family"`
	Type     int            `json:"type"`
	Protocol int            `json:"protocol"`
	Local    []byte         `json:"local,omitempty"`    // struct sockaddr as getsockname gives it; empty: not bound
	Unlinked bool           `json:"unlinked,omitempty"` // the name of a unix socket does not lead to it any more
	Listen   bool           `json:"listen,omitempty"`
	Backlog  int            `json:"backlog,omitempty"`
	Options  []SocketOption `json:"options"`
	// Peer is the address that a datagram socket sends to, a struct sockaddr as
	// getpeername gives it; empty: it is not connected.
	Peer  []byte     `json:"peer,omitempty"`
	Queue []Datagram `json:"queue,omitempty"` // of a datagram socket
}

// SocketOption is the value of one socket option that is not its default.
type SocketOption struct {
	Level int    `json:"level"`
	Name  int    `json:"name"`
	Value []byte `json:"value"`
}

// maxSockaddr is the size of struct sockaddr_storage.
const maxSockaddr = 128

// familyUnix is AF_UNIX.
const familyUnix = 1

// Kind implements Detail.
func (*Socket) Kind() Kind { return KindSocket }

// move implements movable.
func (s *Socket) move(m *mover) {
	m.socket(&s.Local)
	m.socket(&s.Peer)
	for i := range s.Queue {
		m.socket(&s.Queue[i].From)
	}
}

// check implements Detail.
func (s *Socket) check(v *validator) error {
	for _, a := range [][]byte{s.Local, s.Peer} {
		if len(a) > maxSockaddr {
			return fmt.Errorf("an address of %d bytes", len(a))
		}
	}
	for i := range s.Queue {
		if len(s.Queue[i].Rights) > 0 && s.Family != familyUnix {
			return fmt.Errorf("descriptors are in flight to a socket of address family %d", s.Family)
		}
		if err := s.Queue[i].check(v); err != nil {
			return err
		}
	}
	if err := checkOptions(s.Options); err != nil {
		return err
	}
	return notNegative("the backlog", int64(s.Backlog))
}

// checkOptions checks the options of a socket.
func checkOptions(options []SocketOption) error {
	if len(options) > 256 {
		return fmt.Errorf("%d options", len(options))
	}
	for _, o := range options {
		if len(o.Value) > 1<<16 {
			return fmt.Errorf("option %d of level %d with %d bytes", o.Name, o.Level, len(o.Value))
		}
	}
	return nil
}
