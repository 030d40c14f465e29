package capture

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/crtrace/crtrace/snapshot"
	"github.com/crtrace/crtrace/tracer"
	"golang.org/x/sys/unix"
)

// States of a TCP socket (include/net/tcp_states.h).
const (
	tcpEstablished = 1
	tcpFinWait1    = 4
	tcpFinWait2    = 5
	tcpClose       = 7
	tcpCloseWait   = 8
	tcpListen      = 10
)

// isTCP matches connected TCP sockets.
func isTCP(v *view) bool {
	if !isSocket(v) {
		return false
	}
	protocol, err := unix.GetsockoptInt(v.fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	if err != nil || protocol != unix.IPPROTO_TCP {
		return false
	}
	info, err := tcpInfo(v)
	if err != nil || info.State == tcpListen {
		return false
	}
	_, err = unix.Getpeername(v.fd)
	return err == nil
}

func tcpInfo(v *view) (*unix.TCPInfo, error) {
	info, err := unix.GetsockoptTCPInfo(v.fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return nil, fmt.Errorf("TCP_INFO: %w", err)
	}
	return info, nil
}

// takeTCP collects one end of a connection whose other end is in the tree as
// well. What has arrived is peeked at. What is still under way can't be seen
// without privilege; it is waited for.
func takeTCP(t *target, v *view) (snapshot.Detail, error) {
	c := &snapshot.TCP{}
	var err error
	if c.Family, err = unix.GetsockoptInt(v.fd, unix.SOL_SOCKET, unix.SO_DOMAIN); err != nil {
		return nil, fmt.Errorf("SO_DOMAIN: %w", err)
	}
	if c.Local, err = tracer.SocketName(v.fd); err == nil {
		c.Peer, err = tracer.PeerName(v.fd)
	}
	if errors.Is(err, unix.ENOTCONN) && t.surveying() {
		return c, nil // it has just been closed
	}
	if err != nil {
		return nil, fmt.Errorf("names of the connection: %w", err)
	}
	where, err := t.surveyTCP(v, c)
	switch {
	case err != nil || where == nowhere:
		return nil, err
	case where == outside && !t.o.TCPClose:
		return takeOutside(t, v, "the other end of this TCP connection", "start both under one 'crtrace launch', "+
			"or use --tcp-close, to have it reset on restore")
	}
	c.Reset = where == outside
	if c.Options, err = tcpOptions(v.fd, c.Family); err != nil || t.surveying() {
		return c, err
	}
	c.Receive, err = peekTCP(v.fd)
	return c, err
}

// whereabouts is where the other end of a connection is.
type whereabouts int

// The places.
const (
	nowhere whereabouts = iota // the connection was refused
	inside                     // in the tree, or closed
	outside
)

// surveyTCP finds out where the other end is, and refuses what can't be brought
// about again.
func (t *target) surveyTCP(v *view, c *snapshot.TCP) (whereabouts, error) {
	ends := tcpEnds{snapshot.AddrPort(c.Local), snapshot.AddrPort(c.Peer)}
	peer := t.tcpPeer(ends)
	if !t.surveying() {
		if ok, err := t.settleTCP(v, peer, ends); err != nil || !ok {
			return nowhere, err
		}
	}
	info, err := tcpInfo(v)
	if err != nil {
		return nowhere, err
	}
	switch {
	case info.State == tcpEstablished, info.State == tcpCloseWait:
	case info.State == tcpFinWait2, info.State == tcpFinWait1 && peer != nil: // the acknowledgement may be late
		c.Shutdown = true
	default:
		return t.refuseTCP(v, "the connection is being set up or closed"), nil
	}
	if peer != nil {
		return inside, nil
	}
	other, err := inetDiag(ends.peer, ends.local)
	if err != nil {
		return nowhere, err
	}
	switch {
	case info.State == tcpCloseWait && other.inode == 0 && (other.state != 0 || ends.peer.Addr().IsLoopback()):
		c.PeerGone = true
		return inside, nil
	case other.inode == 0 && other.state == tcpFinWait1:
		return t.refuseTCP(v, fmt.Sprintf("its other end was closed, and %d bytes from there do not get through", other.unacknowledged)), nil
	case other.inode == 0 && other.state == tcpEstablished && t.tcpListener(ends) && info.State == tcpEstablished:
		if info.Bytes_sent == 0 {
			c.Pending = true
			return inside, nil
		}
		return t.refuseTCP(v, "what was sent waits for the connection to be accepted"), nil
	}
	return outside, nil
}

// settleTCP waits until nothing of a connection inside the tree is under way any more.
// It returns false if it has refused the connection.
func (t *target) settleTCP(v, peer *view, ends tcpEnds) (ok bool, err error) {
	if peer != nil {
		for _, way := range [][2]*view{{v, peer}, {peer, v}} { // this end's queue is about to be copied
			if ok, err := t.awaitArrival(way[0], way[1]); err != nil || !ok {
				return false, err
			}
		}
		return true, nil
	}
	sender := func() (inetInfo, error) { return inetDiag(ends.peer, ends.local) }
	if other, err := sender(); err != nil || other.inode != 0 || other.state != tcpFinWait1 {
		return true, err
	}
	return true, awaitEnd(v, sender)
}

// refuseTCP refuses what passes by itself, unless it may be over before the tree is
// frozen.
func (t *target) refuseTCP(v *view, why string) whereabouts {
	if t.surveying() {
		return inside
	}
	t.refuse(v.object(), why, tryAgain)
	return nowhere
}

// tcpEnds are the two addresses of a connection, its own first.
type tcpEnds struct{ local, peer netip.AddrPort }

// endsOf returns the addresses of a connected socket.
func endsOf(v *view) (tcpEnds, bool) {
	local, err := tracer.SocketName(v.fd)
	peer, err2 := tracer.PeerName(v.fd)
	return tcpEnds{snapshot.AddrPort(local), snapshot.AddrPort(peer)}, err == nil && err2 == nil
}

// listConnections finds all connections of the tree, once.
func (c *collection) listConnections() map[tcpEnds]*view {
	if c.connections != nil {
		return c.connections
	}
	c.connections = map[tcpEnds]*view{}
	for _, v := range c.byID {
		if !isTCP(v) {
			continue
		}
		if ends, ok := endsOf(v); ok {
			c.connections[ends] = v
		}
	}
	return c.connections
}

// tcpPeer returns the other end of a connection in the tree.
func (c *collection) tcpPeer(end tcpEnds) *view {
	return c.listConnections()[tcpEnds{end.peer, end.local}]
}

// tcpListener tells whether the other end of a connection is for a listener of the
// tree to accept.
func (c *collection) tcpListener(end tcpEnds) bool {
	return slices.ContainsFunc(c.byID, func(o *view) bool { return acceptsAt(o, end.peer) })
}

// acceptsAt tells whether a description is a listener that accepts connections to
// an address.
func acceptsAt(v *view, at netip.AddrPort) bool {
	if !isSocket(v) {
		return false
	}
	listen, err := unix.GetsockoptInt(v.fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil || listen == 0 {
		return false
	}
	name, err := tracer.SocketName(v.fd)
	return err == nil && snapshot.Serves(snapshot.AddrPort(name), at)
}

// pendingAt counts the connections of the tree that wait at a listener.
func (c *collection) pendingAt(listener *view) int {
	count := 0
	for end := range c.listConnections() {
		if c.tcpPeer(end) == nil && acceptsAt(listener, end.peer) {
			count++
		}
	}
	return count
}

// resetOnClose makes the connections of a stopped tree end by a reset when it is
// killed. Otherwise the kernel would keep their addresses for a minute (TIME_WAIT),
// in which a restore could not have them.
func (c *collection) resetOnClose() {
	for i := range c.m.Descriptions {
		if d, ok := c.m.Descriptions[i].Detail.(*snapshot.TCP); !ok || d.Reset {
			continue
		}
		v := c.byID[i]
		if err := v.duplicate(); err != nil {
			c.log.Info("a connection may keep its addresses", "pid", v.t.pid, "fd", v.num, "error", err)
			continue
		}
		if err := unix.SetsockoptLinger(v.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
			c.log.Info("a connection may keep its addresses", "pid", v.t.pid, "fd", v.num, "error", err)
		}
		if v.carrier == nil {
			unix.Close(v.fd)
		}
	}
}

// peekTCP copies what a connection has received. The program's own peek offset,
// where the kernel has it for TCP (6.9), is put back.
func peekTCP(fd int) (data []byte, err error) {
	size, err := unix.IoctlGetInt(fd, unix.TIOCINQ)
	if err != nil || size == 0 {
		return nil, err
	}
	if before, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEEK_OFF); err == nil && before >= 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEEK_OFF, -1); err != nil {
			return nil, fmt.Errorf("SO_PEEK_OFF: %w", err)
		}
		defer func() {
			err = errors.Join(err, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEEK_OFF, before))
		}()
	}
	data = make([]byte, size)
	n, _, err := unix.Recvfrom(fd, data, unix.MSG_PEEK|unix.MSG_DONTWAIT)
	if err == nil && n < size {
		err = fmt.Errorf("%d of %d bytes are there", n, size)
	}
	if err != nil {
		return nil, fmt.Errorf("peek: %w", err)
	}
	return data, nil
}

// tcpOptions returns the options that the program has set. The sizes of buffers
// change by themselves as long as nobody sets them.
func tcpOptions(fd, family int) ([]snapshot.SocketOption, error) {
	all, err := changedOptions(fd, &snapshot.Socket{Family: family, Type: unix.SOCK_STREAM, Protocol: unix.IPPROTO_TCP})
	if err != nil {
		return nil, err
	}
	const sendLocked, receiveLocked = 1, 2 // SOCK_SNDBUF_LOCK, SOCK_RCVBUF_LOCK
	locked, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BUF_LOCK)
	if err != nil {
		locked = 0 // before 5.14
	}
	return slices.DeleteFunc(all, func(o snapshot.SocketOption) bool {
		switch {
		case o.Level == unix.IPPROTO_TCP && o.Name == unix.TCP_MAXSEG: // that of the connection
			return true
		case o.Level == unix.IPPROTO_IP && (o.Name == unix.IP_MULTICAST_TTL || o.Name == unix.IP_MULTICAST_LOOP): // can't be set for streams
			return true
		case o.Level == unix.IPPROTO_IPV6 && o.Name == unix.IPV6_V6ONLY: // follows from the address
			return true
		case o.Level == unix.SOL_SOCKET && o.Name == unix.SO_RCVBUF:
			return locked&receiveLocked == 0
		case o.Level == unix.SOL_SOCKET && o.Name == unix.SO_SNDBUF:
			return locked&sendLocked == 0
		}
		return false
	}), nil
}
