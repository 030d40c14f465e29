package capture

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/crtrace/crtrace/snapshot"
	"golang.org/x/sys/unix"
)

// States of a TCP socket (include/net/tcp_states.h).
const (
	tcpEstablished = 1
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
	if c.Local, err = getsockname(v.fd); err == nil {
		c.Peer, err = getpeername(v.fd)
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
	info, err := tcpInfo(v)
	if err != nil {
		return nowhere, err
	}
	switch info.State {
	case tcpEstablished, tcpCloseWait:
	case tcpFinWait2:
		c.Shutdown = true
	default:
		return t.refuseTCP(v, "the connection is being set up or closed"), nil
	}
	if peer := t.tcpPeer(c); peer != nil {
		return t.surveyTransit(v, peer)
	}
	other, err := inetDiag(tcpAddress(c.Peer), tcpAddress(c.Local))
	if err != nil {
		return nowhere, err
	}
	switch {
	case info.State == tcpCloseWait && other.inode == 0 && (other.state != 0 || tcpAddress(c.Peer).Addr().IsLoopback()):
		c.PeerGone = true
		return inside, nil
	case other.inode == 0 && other.state == tcpEstablished && t.tcpListener(c) && info.State == tcpEstablished:
		if info.Bytes_sent == 0 {
			c.Pending = true
			return inside, nil
		}
		return t.refuseTCP(v, "what was sent waits for the connection to be accepted"), nil
	}
	return outside, nil
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

// tcpPeer returns the other end of a connection in the tree.
func (c *collection) tcpPeer(end *snapshot.TCP) *view {
	local, peer := tcpAddress(end.Local), tcpAddress(end.Peer)
	for _, o := range c.byID {
		if !isTCP(o) {
			continue
		}
		a, err := getsockname(o.fd)
		b, err2 := getpeername(o.fd)
		if err == nil && err2 == nil && tcpAddress(a) == peer && tcpAddress(b) == local {
			return o
		}
	}
	return nil
}

// tcpListener tells whether the other end of a connection is for a listener of the
// tree to accept.
func (c *collection) tcpListener(end *snapshot.TCP) bool {
	return slices.ContainsFunc(c.byID, func(o *view) bool { return acceptsAt(o, tcpAddress(end.Peer)) })
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
	name, err := getsockname(v.fd)
	if err != nil || name[0] == unix.AF_UNIX {
		return false
	}
	own := tcpAddress(name)
	return own.Port() == at.Port() && (own.Addr() == at.Addr() || own.Addr().IsUnspecified())
}

// pendingAt counts the connections of the tree that wait at a listener.
func (c *collection) pendingAt(listener *view) int {
	count := 0
	for _, o := range c.byID {
		if !isTCP(o) {
			continue
		}
		end := &snapshot.TCP{}
		var err, err2 error
		end.Local, err = getsockname(o.fd)
		end.Peer, err2 = getpeername(o.fd)
		if err == nil && err2 == nil && acceptsAt(listener, tcpAddress(end.Peer)) && c.tcpPeer(end) == nil {
			count++
		}
	}
	return count
}

// surveyTransit waits until everything that v has sent has arrived at its peer.
func (t *target) surveyTransit(v, peer *view) (whereabouts, error) {
	if t.surveying() {
		return inside, nil
	}
	const patience, step = 300 * time.Millisecond, time.Millisecond
	tick := time.NewTicker(step)
	defer tick.Stop()
	for end := time.Now().Add(patience); ; <-tick.C {
		sent, err := tcpInfo(v)
		if err != nil {
			return nowhere, err
		}
		arrived, err := tcpInfo(peer)
		if err != nil {
			return nowhere, err
		}
		received := arrived.Bytes_received
		if arrived.State == tcpCloseWait {
			received-- // the end of the stream counts as one
		}
		if sent.Notsent_bytes == 0 && sent.Bytes_sent-sent.Bytes_retrans == received {
			return inside, nil
		}
		if time.Now().After(end) {
			t.refuse(v.object(), fmt.Sprintf("%d bytes were sent that do not get through, because the receiver reads too little",
				sent.Bytes_sent-sent.Bytes_retrans+uint64(sent.Notsent_bytes)-received), "try again when it has read more")
			return nowhere, nil
		}
	}
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
		unix.Close(v.fd)
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

// tcpAddress reads a struct sockaddr_in or sockaddr_in6. An IPv4 address in IPv6's
// clothes is the IPv4 one.
func tcpAddress(b []byte) netip.AddrPort {
	const port, addr4, addr6 = 2, 4, 8
	b = append(bytes.Clone(b), make([]byte, 32)...)
	number := uint16(b[port])<<8 | uint16(b[port+1])
	if b[0] == unix.AF_INET {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[addr4:])), number)
	}
	return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[addr6:])).Unmap(), number)
}
