package restore

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/crtrace/crtrace/snapshot"
	"golang.org/x/sys/unix"
)

// startSocket gives a datagram socket its queue and then its peer, after which it
// would take messages from nobody else. All sockets of the tree are there by now.
func startSocket(b *broker, d *snapshot.Description, fd int) error {
	s := d.Detail.(*snapshot.Socket)
	for i := range s.Queue {
		if err := b.sendDatagram(s, &s.Queue[i]); err != nil {
			return fmt.Errorf("fill the queue: %w", err)
		}
	}
	if len(s.Peer) == 0 {
		return nil
	}
	err := b.inDirectory(s, s.Peer, func() error { return connectRaw(fd, s.Peer) })
	if err != nil {
		b.warn("%s: its peer can't be found any more: %v", describe(b.m, d), err)
	}
	return nil
}

// sendDatagram sends a message to a socket from the socket that had sent it, or from
// one that has its address for the moment. Without either it is lost, as datagrams
// may be.
func (b *broker) sendDatagram(to *snapshot.Socket, d *snapshot.Datagram) error {
	if len(to.Local) == 0 {
		return errors.New("a socket without an address has received something")
	}
	from, made, err := b.sender(to, d.From)
	if err != nil {
		b.warn("a datagram that was not read yet is lost: its sender can't be stood in for: %v", err)
		return nil
	}
	if made {
		defer unix.Close(from)
	}
	rights, err := b.rights(d.Rights)
	if err != nil {
		return err
	}
	return b.inDirectory(to, to.Local, func() error { return sendRaw(from, d.Data, rights, to.Local) })
}

// sender returns a socket with an address, and whether it was made for that.
func (b *broker) sender(to *snapshot.Socket, addr []byte) (fd int, made bool, err error) {
	for i := range b.m.Descriptions {
		s, ok := b.m.Descriptions[i].Detail.(*snapshot.Socket)
		if ok && len(addr) > 0 && s.Type == to.Type && sendsFrom(s, addr) {
			return b.descs[i], false, nil
		}
	}
	fd, err = unix.Socket(to.Family, to.Type|unix.SOCK_CLOEXEC, to.Protocol)
	if err != nil {
		return -1, false, fmt.Errorf("socket: %w", err)
	}
	if len(addr) > 0 {
		if err := withName(addr, func() error { return bindRaw(fd, addr) }); err != nil {
			return -1, false, errors.Join(fmt.Errorf("bind: %w", err), unix.Close(fd))
		}
	}
	return fd, true, nil
}

// sendsFrom tells whether what a socket sends comes from an address.
func sendsFrom(s *snapshot.Socket, addr []byte) bool {
	if s.Family == unix.AF_UNIX || addr[0] == unix.AF_UNIX {
		return bytes.Equal(s.Local, addr)
	}
	return snapshot.Serves(snapshot.AddrPort(s.Local), snapshot.AddrPort(addr))
}
