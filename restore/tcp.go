package restore

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/crtrace/crtrace/snapshot"
	"golang.org/x/sys/unix"
)

// openTCP makes one end of a TCP connection. The first end that comes makes both:
// by a connection between the two addresses, through a listener that exists for
// that moment, and with what had been received.
func openTCP(b *broker, d *snapshot.Description) (int, error) {
	c := d.Detail.(*snapshot.TCP)
	if fd, ok := b.connections[d.ID]; ok {
		return fd, setStatus(fd, d)
	}
	if c.Pending {
		fd, err := b.connectPending(c)
		if err != nil {
			return -1, err
		}
		return fd, setStatus(fd, d)
	}
	id, peer := b.tcpPeer(c)
	var own, other int
	var err error
	if b.isServer(c) || !b.isServer(peer) {
		own, other, err = connectTCP(c, peer)
	} else {
		other, own, err = connectTCP(peer, c)
	}
	if err != nil {
		return -1, err
	}
	b.keep(own)
	if err := errors.Join(fillTCP(other, c), fillTCP(own, peer)); err != nil {
		return -1, errors.Join(err, unix.Close(other))
	}
	if err := errors.Join(shutTCP(own, c), shutTCP(other, peer)); err != nil {
		return -1, errors.Join(err, unix.Close(other))
	}
	if id < 0 {
		return own, errors.Join(unix.Close(other), setStatus(own, d))
	}
	b.connections[id] = b.keep(other)
	return own, setStatus(own, d)
}

// tcpPeer returns the other end of a connection and its description; for one that
// was closed a stand-in and -1.
func (b *broker) tcpPeer(c *snapshot.TCP) (int, *snapshot.TCP) {
	for i := range b.m.Descriptions {
		p, ok := b.m.Descriptions[i].Detail.(*snapshot.TCP)
		if ok && p != c && samePlace(p.Local, c.Peer) && samePlace(p.Peer, c.Local) {
			return i, p
		}
	}
	return -1, &snapshot.TCP{Family: int(c.Peer[0]), Local: c.Peer, Peer: c.Local}
}

// samePlace tells whether two socket addresses name the same address and port. An
// IPv4 address may come as an IPv6 one.
func samePlace(a, b []byte) bool {
	hostA, portA := place4(a)
	hostB, portB := place4(b)
	return bytes.Equal(hostA, hostB) && bytes.Equal(portA, portB)
}

// place4 returns address and port of a struct sockaddr_in or sockaddr_in6.
func place4(a []byte) (host, port []byte) {
	mapped := append(make([]byte, 10), 0xff, 0xff)
	if a[0] == unix.AF_INET {
		return a[4:8], a[2:4]
	}
	if len(a) < 24 {
		return nil, nil
	}
	if rest, ok := bytes.CutPrefix(a[8:24], mapped); ok {
		return rest, a[2:4]
	}
	return a[8:24], a[2:4]
}

// listenerOf returns the description of the listener that an end belongs to, by
// its address or any address with its port.
func (b *broker) listenerOf(local []byte) (int, bool) {
	host, port := place4(local)
	for i := range b.m.Descriptions {
		s, ok := b.m.Descriptions[i].Detail.(*snapshot.Socket)
		if !ok || !s.Listen || s.Family == unix.AF_UNIX || len(s.Local) < 16 {
			continue
		}
		h, p := place4(s.Local)
		if bytes.Equal(p, port) && (bytes.Equal(h, host) || len(bytes.Trim(h, "\x00")) == 0) {
			return i, true
		}
	}
	return 0, false
}

func (b *broker) isServer(c *snapshot.TCP) bool {
	_, ok := b.listenerOf(c.Local)
	return ok
}

// connectTCP has the server's end accept a connection of the client's.
func connectTCP(server, client *snapshot.TCP) (accepted, connected int, err error) {
	listener, err := tcpSocket(server)
	if err != nil {
		return -1, -1, err
	}
	defer unix.Close(listener)
	if err := unix.Listen(listener, 1); err != nil {
		return -1, -1, fmt.Errorf("listen: %w", err)
	}
	if connected, err = tcpSocket(client); err != nil {
		return -1, -1, err
	}
	if err := connectRaw(connected, client.Peer); err != nil {
		return -1, -1, errors.Join(fmt.Errorf("connect: %w", err), unix.Close(connected))
	}
	for {
		accepted, _, err = unix.Accept4(listener, unix.SOCK_CLOEXEC)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return -1, -1, errors.Join(fmt.Errorf("accept: %w", err), unix.Close(connected))
		}
		peer, err := getpeername(accepted)
		if err == nil && samePlace(peer, server.Peer) {
			break
		}
		unix.Close(accepted) // somebody else was faster
	}
	if err := errors.Join(setTCPOptions(accepted, server), setTCPOptions(connected, client)); err != nil {
		return -1, -1, errors.Join(err, unix.Close(accepted), unix.Close(connected))
	}
	return accepted, connected, nil
}

// tcpSocket makes a socket with the address of an end. The addresses of
// connections that have just ended are free for it (SO_REUSEADDR).
func tcpSocket(c *snapshot.TCP) (int, error) {
	fd, err := unix.Socket(c.Family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	for _, o := range c.Options {
		if o.Level == unix.SOL_SOCKET && (o.Name == unix.SO_RCVBUF || o.Name == unix.SO_SNDBUF) { // counts when the window is agreed on
			err = errors.Join(err, setOption(fd, o))
		}
	}
	err = errors.Join(err, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1))
	if bound := bindRaw(fd, c.Local); bound != nil {
		err = errors.Join(err, fmt.Errorf("bind to the address of the connection: %w", bound))
	}
	if err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

// setTCPOptions sets the options of an end, but for SO_REUSEADDR: others are still to
// be bound to the same port.
func setTCPOptions(fd int, c *snapshot.TCP) error {
	for _, o := range c.Options {
		if reuses(o) {
			continue
		}
		if err := setOption(fd, o); err != nil {
			return fmt.Errorf("socket option %d/%d: %w", o.Level, o.Name, err)
		}
	}
	return nil
}

// fillTCP sends from one end what the other one had received.
func fillTCP(from int, to *snapshot.TCP) error {
	const patience = 2000 // milliseconds without progress
	for data := to.Receive; len(data) > 0; {
		n, err := unix.SendmsgN(from, data, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		data = data[max(n, 0):]
		switch {
		case err == nil, errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			ready, err := unix.Poll([]unix.PollFd{{Fd: int32(from), Events: unix.POLLOUT}}, patience)
			if err == nil && ready == 0 {
				return fmt.Errorf("%d of %d received bytes do not go in again", len(data), len(to.Receive))
			}
		default:
			return fmt.Errorf("send what was received: %w", err)
		}
	}
	return nil
}

// shutTCP ends the sending of an end that had ended it, and waits until the end has
// arrived, so that it is in the state that it was in.
func shutTCP(fd int, c *snapshot.TCP) error {
	if !c.Shutdown {
		return nil
	}
	if err := unix.Shutdown(fd, unix.SHUT_WR); err != nil {
		return fmt.Errorf("shutdown: %w", err)
	}
	const finWait2 = 5
	const patience, step = time.Second, time.Millisecond
	tick := time.NewTicker(step)
	defer tick.Stop()
	for end := time.Now().Add(patience); time.Now().Before(end); <-tick.C {
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil || info.State == finWait2 {
			return err
		}
	}
	return nil // it gets there when the other end reads
}

// isAccepted tells whether both ends of a connection have been open.
func isAccepted(d *snapshot.Description) bool { return !d.Detail.(*snapshot.TCP).Pending }

// listenerFirst returns the listener that has not accepted a connection yet.
func listenerFirst(b *broker, d *snapshot.Description) (int, bool) {
	if isAccepted(d) {
		return 0, false
	}
	return b.listenerOf(d.Detail.(*snapshot.TCP).Peer)
}

// connectPending connects to a listener, which exists by now.
func (b *broker) connectPending(c *snapshot.TCP) (int, error) {
	fd, err := tcpSocket(c)
	if err != nil {
		return -1, err
	}
	b.keep(fd)
	if err := connectRaw(fd, c.Peer); err != nil {
		return -1, fmt.Errorf("connect: %w", err)
	}
	return fd, setTCPOptions(fd, c)
}

func reuses(o snapshot.SocketOption) bool {
	return o.Level == unix.SOL_SOCKET && o.Name == unix.SO_REUSEADDR
}

// startTCP takes SO_REUSEADDR back, if the program has not set it.
func startTCP(_ *broker, d *snapshot.Description, fd int) error {
	if slices.ContainsFunc(d.Detail.(*snapshot.TCP).Options, reuses) {
		return nil
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 0); err != nil {
		return fmt.Errorf("SO_REUSEADDR: %w", err)
	}
	return nil
}
