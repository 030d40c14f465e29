package capture

import (
	"errors"
	"fmt"

	"github.com/crtrace/crtrace/snapshot"
	"github.com/crtrace/crtrace/tracer"
	"golang.org/x/sys/unix"
)

// isUnixPair matches connected unix sockets, but for datagram sockets that are
// connected to a name.
func isUnixPair(v *view) bool {
	if !isSocket(v) {
		return false
	}
	family, err := unix.GetsockoptInt(v.fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil || family != unix.AF_UNIX {
		return false
	}
	peer, err := tracer.PeerName(v.fd)
	if err != nil {
		return false
	}
	typ, err := unix.GetsockoptInt(v.fd, unix.SOL_SOCKET, unix.SO_TYPE)
	return err == nil && (typ != unix.SOCK_DGRAM || named(peer) == nil)
}

// takeUnixPair collects one end of a pair. The messages in its queue are peeked
// at, so they stay where they are.
func takeUnixPair(t *target, v *view) (snapshot.Detail, error) {
	info, err := unixDiag(v.st.Ino)
	if errors.Is(err, unix.ENOENT) { // it exists: we have a duplicate of it
		t.refuse(v.object(), "this socket belongs to another network namespace", "")
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("sock_diag: %w", err)
	}
	u := &snapshot.UnixPair{Ino: v.st.Ino, Peer: info.peer, Shutdown: info.shutdown}
	if u.Type, err = unix.GetsockoptInt(v.fd, unix.SOL_SOCKET, unix.SO_TYPE); err != nil {
		return nil, fmt.Errorf("SO_TYPE: %w", err)
	}
	if info.peer != 0 && !t.hasInode(info.peer) {
		return takeOutside(t, v, "the peer of this connected socket", together)
	}
	if u.Local, err = localAddress(v.fd); err != nil {
		return nil, err
	}
	if ok, err := t.surveyUnixPair(v, u); err != nil || !ok {
		return nil, err
	}
	s := &snapshot.Socket{Family: unix.AF_UNIX, Type: u.Type}
	if u.Options, err = changedOptions(v.fd, s); err != nil {
		return nil, err
	}
	if t.surveying() {
		return u, nil
	}
	queue, err := v.messages(u.Type)
	if err != nil {
		return nil, t.refuseQueue(v, err)
	}
	for i := range queue {
		u.Queue = append(u.Queue, queue[i].data)
		if flying := queue[i].rights(); len(flying) > 0 {
			u.Rights = append(u.Rights, snapshot.Rights{Message: i, Descriptions: flying})
		}
	}
	return u, nil
}

// refuseQueue refuses a socket for what passes; other errors it returns.
func (t *target) refuseQueue(v *view, err error) error {
	if !errors.Is(err, errTruncated) && !errors.Is(err, errArrived) {
		return err
	}
	t.refuse(v.object(), err.Error(), tryAgain)
	return nil
}

// surveyUnixPair refuses connections that could not be made in the same way again.
func (t *target) surveyUnixPair(v *view, u *snapshot.UnixPair) (ok bool, err error) {
	const closed = 3 // both directions are shut down on the end that is left
	switch {
	case u.Type != unix.SOCK_DGRAM && u.Peer == 0 && u.Shutdown != closed:
		if !t.surveying() { // it may be accepted before the tree is frozen
			t.refuse(v.object(), "the connection waits to be accepted", tryAgain)
		}
		return t.surveying(), nil
	case u.Type == unix.SOCK_DGRAM && u.Peer != 0:
		peer, err := unixDiag(u.Peer)
		if err != nil {
			return false, fmt.Errorf("sock_diag: %w", err)
		}
		if peer.peer != u.Ino || len(u.Local) > 0 {
			t.refuse(v.object(), "one of this pair of datagram sockets has a name", "")
			return false, nil
		}
	}
	return true, nil
}

// hasInode tells whether a descriptor of the tree leads to a socket.
func (t *target) hasInode(ino uint64) bool {
	for _, v := range t.byID {
		if isSocket(v) && v.st.Ino == ino {
			return true
		}
	}
	return false
}
