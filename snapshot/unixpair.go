package snapshot

import "fmt"

// KindUnixPair is the kind of unix sockets that are connected to each other, or
// whose peer is no more.
const KindUnixPair Kind = "unixpair"

// UnixPair is one end of a pair of connected unix sockets: of socketpair, or of
// connect and accept.
type UnixPair struct {
	Ino      uint64         `json:"ino"`
	Peer     uint64         `json:"peer"`               // inode of the other end, 0 when it has been closed
	Type     int            `json:"type"`               // SOCK_*
	Shutdown int            `json:"shutdown,omitempty"` // 1: receiving is shut down, 2: sending
	Queue    [][]byte       `json:"queue,omitempty"`    // messages that were not received yet
	Options  []SocketOption `json:"options"`
	// Local is the name of this end, a struct sockaddr as getsockname gives it. An
	// accepted socket has that of its listener.
	Local []byte `json:"local,omitempty"`
}

// Kind implements Detail.
func (*UnixPair) Kind() Kind { return KindUnixPair }

// move implements movable.
func (u *UnixPair) move(m *mover) { m.socket(&u.Local) }

// check implements Detail.
func (u *UnixPair) check(*validator) error {
	if len(u.Local) > maxSockaddr {
		return fmt.Errorf("an address of %d bytes", len(u.Local))
	}
	if err := notNegative("the type", int64(u.Type)); err != nil {
		return err
	}
	return notNegative("the shutdown", int64(u.Shutdown))
}
