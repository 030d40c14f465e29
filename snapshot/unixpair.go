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
	Rights   []Rights       `json:"rights,omitempty"`   // what is in flight with these messages
	Options  []SocketOption `json:"options"`
	// Local is the name of this end, a struct sockaddr as getsockname gives it. An
	// accepted socket has that of its listener.
	Local []byte `json:"local,omitempty"`
}

// Rights are the descriptors that are in flight with a message (SCM_RIGHTS).
type Rights struct {
	Message      int   `json:"message"`      // index in the queue
	Descriptions []int `json:"descriptions"` // Manifest.Descriptions
}

// Kind implements Detail.
func (*UnixPair) Kind() Kind { return KindUnixPair }

// move implements movable.
func (u *UnixPair) move(m *mover) { m.socket(&u.Local) }

// check implements Detail.
func (u *UnixPair) check(v *validator) error {
	if len(u.Local) > maxSockaddr {
		return fmt.Errorf("an address of %d bytes", len(u.Local))
	}
	last := -1
	for _, r := range u.Rights {
		if r.Message <= last || r.Message >= len(u.Queue) {
			return fmt.Errorf("descriptors in flight with message %d of %d, after %d", r.Message, len(u.Queue), last)
		}
		last = r.Message
		if len(r.Descriptions) == 0 {
			return fmt.Errorf("no descriptors are in flight with message %d", r.Message)
		}
		if err := v.flying(r.Descriptions); err != nil {
			return err
		}
	}
	if err := notNegative("the type", int64(u.Type)); err != nil {
		return err
	}
	return notNegative("the shutdown", int64(u.Shutdown))
}

// maxRights is SCM_MAX_FD: how many descriptors a message can carry.
const maxRights = 253

// flying checks what is in flight with a message.
func (v *validator) flying(descriptions []int) error {
	if len(descriptions) > maxRights {
		return fmt.Errorf("%d descriptors are in flight with one message", len(descriptions))
	}
	for _, id := range descriptions {
		if err := index("description", id, len(v.m.Descriptions)); err != nil {
			return fmt.Errorf("in flight: %w", err)
		}
	}
	return nil
}
