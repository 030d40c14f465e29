package restore

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/crtrace/crtrace/snapshot"
	"github.com/crtrace/crtrace/tracer"
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
	if c.Reset {
		fd, err := b.openReset(c)
		if err != nil {
			return -1, err
		}
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
		own, other, err = b.connectTCP(c, peer)
	} else {
		other, own, err = b.connectTCP(peer, c)
	}
	if err != nil {
		return -1, err
	}
	b.keep(own)
	if err := errors.Join(fillTCP(other, own, c), fillTCP(own, other, peer)); err != nil {
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

// samePlace tells whether two socket addresses name the same address and port.
func samePlace(a, b []byte) bool { return snapshot.AddrPort(a) == snapshot.AddrPort(b) }

// listenerOf returns the description of the listener that an end belongs to, by
// its address or any address with its port.
func (b *broker) listenerOf(local []byte) (int, bool) {
	at := snapshot.AddrPort(local)
	for i := range b.m.Descriptions {
		s, ok := b.m.Descriptions[i].Detail.(*snapshot.Socket)
		if ok && s.Listen && snapshot.Serves(snapshot.AddrPort(s.Local), at) {
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
func (b *broker) connectTCP(server, client *snapshot.TCP) (accepted, connected int, err error) {
	listener, err := b.patiently(server, func() (int, error) { return listenAt(server) })
	if err != nil {
		return -1, -1, err
	}
	defer unix.Close(listener)
	if connected, err = b.dial(client); err != nil {
		return -1, -1, err
	}
	for {
		accepted, _, err = unix.Accept4(listener, unix.SOCK_CLOEXEC)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return -1, -1, errors.Join(fmt.Errorf("accept: %w", err), unix.Close(connected))
		}
		peer, err := tracer.PeerName(accepted)
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

// patiently repeats what fails because the address of an end is in use. When a
// connection has ended in good order, the kernel keeps its addresses for a minute
// (TIME_WAIT).
func (b *broker) patiently(c *snapshot.TCP, fn func() (int, error)) (int, error) {
	const patience, quiet, step = 65 * time.Second, 2 * time.Second, 50 * time.Millisecond
	told := false
	tick := time.NewTicker(step)
	defer tick.Stop()
	for began := time.Now(); ; {
		fd, err := fn()
		waited := time.Since(began)
		if !errors.Is(err, unix.EADDRINUSE) && !errors.Is(err, unix.EADDRNOTAVAIL) || waited > patience {
			return fd, err
		}
		if waited > quiet && !told {
			told = true
			b.plan.progress("the TCP port %d is still taken, by the connection that has ended or by another program; "+
				"it may take a minute until it is free", int(c.Local[2])<<8|int(c.Local[3]))
		}
		select {
		case <-tick.C:
		case <-b.ctx.Done():
			return -1, b.ctx.Err()
		}
	}
}

// listenAt listens at the address of an end.
func listenAt(c *snapshot.TCP) (int, error) {
	fd, err := tcpSocket(c)
	if err != nil {
		return -1, err
	}
	err = bindRaw(fd, c.Local)
	if err == nil {
		err = unix.Listen(fd, 1)
	}
	if err != nil {
		return -1, errors.Join(fmt.Errorf("bind to the address of the connection: %w", err), unix.Close(fd))
	}
	return fd, nil
}

// dial connects an end from its address to that of its peer. A port that connect
// itself chooses, from a range of one (6.3), may be one that a connection between
// the same addresses has just given up; for a port that bind takes, the old
// connection must have had SO_REUSEADDR.
func (b *broker) dial(c *snapshot.TCP) (int, error) {
	fd, err := b.patiently(c, func() (int, error) {
		for _, bind := range []func(int, []byte) error{bindRange, bindRaw} {
			fd, err := tcpSocket(c)
			if err != nil {
				return -1, err
			}
			if err = bind(fd, c.Local); err == nil {
				err = connectRaw(fd, c.Peer)
			}
			if err == nil {
				return fd, nil
			}
			unix.Close(fd)
			if !errors.Is(err, unix.EADDRINUSE) && !errors.Is(err, unix.EADDRNOTAVAIL) && !errors.Is(err, unix.ENOPROTOOPT) {
				return -1, err
			}
		}
		return -1, unix.EADDRINUSE
	})
	if err != nil {
		return -1, fmt.Errorf("connect from the address of the connection: %w", err)
	}
	return fd, errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1), freeRange(fd))
}

// ipLocalPortRange is IP_LOCAL_PORT_RANGE: the lowest and the highest port, 16 bits each.
const ipLocalPortRange = 51

// bindRange binds a socket to an address and leaves the port to connect, which
// has only one to choose from.
func bindRange(fd int, local []byte) error {
	port := int(local[2])<<8 | int(local[3])
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, ipLocalPortRange, port|port<<16); err != nil {
		return err
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
		return err
	}
	host := bytes.Clone(local)
	host[2], host[3] = 0, 0
	return bindRaw(fd, host)
}

// freeRange takes back what bindRange has set.
func freeRange(fd int) error {
	err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, ipLocalPortRange, 0)
	if errors.Is(err, unix.ENOPROTOOPT) {
		return nil
	}
	return errors.Join(err, unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 0))
}

// tcpSocket makes a socket for an end. The addresses of connections that live are
// free for it too (SO_REUSEADDR).
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
	if err = errors.Join(err, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)); err != nil {
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

// fillTCP sends from one end what the other one had received. It may have had more room
// for that than a new one has.
func fillTCP(from, to int, c *snapshot.TCP) error {
	size, err := unix.GetsockoptInt(to, unix.SOL_SOCKET, unix.SO_RCVBUF)
	if err != nil {
		return fmt.Errorf("SO_RCVBUF: %w", err)
	}
	if len(c.Receive) == 0 {
		return nil
	}
	widened, err := pushTCP(from, to, c.Receive)
	if widened && err == nil {
		err = tracer.Narrow(to, size)
	}
	return err
}

// pushTCP sends data and waits until it has arrived. It tells whether it had to give the
// receiver more room.
func pushTCP(from, to int, data []byte) (widened bool, err error) {
	const patience, step = 2 * time.Second, time.Millisecond
	tick := time.NewTicker(step)
	defer tick.Stop()
	all, room, before, end := len(data), len(data), -1, time.Now().Add(patience)
	for ; ; <-tick.C {
		n, err := unix.SendmsgN(from, data, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		if err != nil && !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EAGAIN) {
			return widened, fmt.Errorf("send what was received: %w", err)
		}
		data = data[max(n, 0):]
		arrived, err := unix.IoctlGetInt(to, unix.TIOCINQ)
		if err != nil {
			return widened, fmt.Errorf("SIOCINQ: %w", err)
		}
		switch {
		case arrived == all:
			return widened, nil
		case n > 0 || arrived != before:
			before, end = arrived, time.Now().Add(patience)
			continue
		case time.Now().After(end):
			return widened, fmt.Errorf("%d of %d received bytes do not go in again", all-arrived, all)
		}
		widened = true
		if err := tracer.Widen(to, room); err != nil {
			return widened, err
		}
		room = min(2*room, 1<<30)
	}
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

// openReset makes a connection that its other end, of ours, resets at once. What
// had been received can still be read before the error.
func (b *broker) openReset(c *snapshot.TCP) (int, error) {
	listener, err := listenAnywhere(c.Family)
	if err != nil {
		return -1, err
	}
	defer unix.Close(listener)
	at, err := unix.Getsockname(listener)
	if err != nil {
		return -1, fmt.Errorf("getsockname: %w", err)
	}
	fd, err := tcpSocket(c)
	if err != nil {
		return -1, err
	}
	b.keep(fd)
	if err := unix.Connect(fd, at); err != nil {
		return -1, fmt.Errorf("connect to ourselves: %w", err)
	}
	other, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("accept from ourselves: %w", err)
	}
	err = errors.Join(setTCPOptions(fd, c), fillTCP(other, fd, c),
		unix.SetsockoptLinger(other, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}))
	return fd, errors.Join(err, unix.Close(other))
}

// listenAnywhere listens on a free port of the loopback interface.
func listenAnywhere(family int) (int, error) {
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	var at unix.Sockaddr = &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	if family == unix.AF_INET6 {
		at = &unix.SockaddrInet6{Addr: [16]byte{15: 1}}
	}
	if err = unix.Bind(fd, at); err == nil {
		err = unix.Listen(fd, 1)
	}
	if err != nil {
		return -1, errors.Join(fmt.Errorf("listen to ourselves: %w", err), unix.Close(fd))
	}
	return fd, nil
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
	fd, err := b.dial(c)
	if err != nil {
		return -1, err
	}
	return b.keep(fd), setTCPOptions(fd, c)
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
