package capture

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/crtrace/crtrace/snapshot"
	"github.com/crtrace/crtrace/tracer"
	"golang.org/x/sys/unix"
)

// isSocket matches sockets.
func isSocket(v *view) bool { return v.st.Mode&unix.S_IFMT == unix.S_IFSOCK }

// socketOptions are the options that come back when they differ from those of a
// fresh socket of the same kind.
var socketOptions = []struct{ level, name int }{
	{unix.SOL_SOCKET, unix.SO_REUSEADDR}, {unix.SOL_SOCKET, unix.SO_REUSEPORT},
	{unix.SOL_SOCKET, unix.SO_KEEPALIVE}, {unix.SOL_SOCKET, unix.SO_BROADCAST},
	{unix.SOL_SOCKET, unix.SO_RCVBUF}, {unix.SOL_SOCKET, unix.SO_SNDBUF},
	{unix.SOL_SOCKET, unix.SO_LINGER}, {unix.SOL_SOCKET, unix.SO_OOBINLINE},
	{unix.SOL_SOCKET, unix.SO_RCVTIMEO}, {unix.SOL_SOCKET, unix.SO_SNDTIMEO},
	{unix.SOL_SOCKET, unix.SO_RCVLOWAT}, {unix.SOL_SOCKET, unix.SO_PASSCRED},
	{unix.SOL_SOCKET, unix.SO_PRIORITY}, {unix.SOL_SOCKET, unix.SO_TIMESTAMP},
	{unix.IPPROTO_IPV6, unix.IPV6_V6ONLY}, {unix.IPPROTO_IPV6, unix.IPV6_TCLASS},
	{unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS}, {unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO},
	{unix.IPPROTO_IP, unix.IP_TOS}, {unix.IPPROTO_IP, unix.IP_TTL}, {unix.IPPROTO_IP, unix.IP_PKTINFO},
	{unix.IPPROTO_IP, unix.IP_MULTICAST_TTL}, {unix.IPPROTO_IP, unix.IP_MULTICAST_LOOP},
	{unix.IPPROTO_TCP, unix.TCP_NODELAY}, {unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT},
	{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE}, {unix.IPPROTO_TCP, unix.TCP_KEEPINTVL},
	{unix.IPPROTO_TCP, unix.TCP_KEEPCNT}, {unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT},
	{unix.IPPROTO_TCP, unix.TCP_FASTOPEN}, {unix.IPPROTO_TCP, unix.TCP_MAXSEG},
}

// takeSocket collects a socket without a connection.
func takeSocket(t *target, v *view) (snapshot.Detail, error) {
	s := &snapshot.Socket{}
	for _, field := range []struct {
		name int
		to   *int
	}{{unix.SO_DOMAIN, &s.Family}, {unix.SO_TYPE, &s.Type}, {unix.SO_PROTOCOL, &s.Protocol}} {
		var err error
		if *field.to, err = unix.GetsockoptInt(v.fd, unix.SOL_SOCKET, field.name); err != nil {
			return nil, fmt.Errorf("getsockopt: %w", err)
		}
	}
	switch s.Family {
	case unix.AF_UNIX, unix.AF_INET, unix.AF_INET6:
	default:
		t.refuse(v.object(), fmt.Sprintf("sockets of address family %d are not supported", s.Family), "")
		return nil, nil
	}
	if isDatagram(s) {
		if err := takePeer(v, s); err != nil {
			return nil, err
		}
	} else if _, err := unix.Getpeername(v.fd); err == nil {
		return takeOutside(t, v, "the peer of this connected socket", together)
	}
	listen, err := unix.GetsockoptInt(v.fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil {
		return nil, fmt.Errorf("SO_ACCEPTCONN: %w", err)
	}
	s.Listen = listen != 0
	if s.Local, err = localAddress(v.fd); err != nil {
		return nil, err
	}
	if ok, err := t.surveySocket(v, s); err != nil || !ok {
		return nil, err
	}
	if s.Unlinked, err = t.unlinked(v, s); err != nil {
		return nil, err
	}
	if err := t.takeDatagrams(v, s); err != nil {
		return nil, err
	}
	s.Options, err = changedOptions(v.fd, s)
	return s, err
}

// surveySocket refuses sockets with a state that would be lost.
func (t *target) surveySocket(v *view, s *snapshot.Socket) (ok bool, err error) {
	if s.Type == unix.SOCK_STREAM && s.Family != unix.AF_UNIX {
		return t.surveyTCPSocket(v, s)
	}
	if s.Listen {
		s.Backlog = usualBacklog
		waiting, err := pollFor(v.fd, unix.POLLIN)
		return err == nil && (!waiting || t.passWaiting(v)), err
	}
	return t.surveyQueue(v, s)
}

// usualBacklog is what the kernel does not tell of unix sockets: how many
// connections may wait.
const usualBacklog = 128

// surveyTCPSocket is surveySocket for TCP sockets without a peer.
func (t *target) surveyTCPSocket(v *view, s *snapshot.Socket) (ok bool, err error) {
	info, err := tcpInfo(v)
	if err != nil {
		return false, err
	}
	switch info.State {
	case tcpClose:
		return t.surveyQueue(v, s)
	case tcpListen:
	default:
		if !t.surveying() {
			t.refuse(v.object(), "the connection is being set up or closed", tryAgain)
		}
		return t.surveying(), nil
	}
	s.Backlog = int(info.Sacked) // of a listener the kernel shows the limit here, the length in Unacked
	if s.Backlog == 0 {
		s.Backlog = usualBacklog
	}
	return int(info.Unacked) <= t.pendingAt(v) || t.passWaiting(v), nil
}

// passWaiting decides about connections that wait at a listener and can't be brought
// back: what the other end has sent, and it may have ended since, would be lost. They
// are given some time to be accepted; a listener that does not do so is no reason to
// refuse.
func (t *target) passWaiting(v *view) bool {
	switch {
	case t.surveying():
	case t.hurried:
		t.warn("process %d: %s: connections that wait to be accepted are reset on restore", t.pid, v.object())
	default:
		t.refuse(v.object(), "connections wait to be accepted", tryAgain)
		return false
	}
	return true
}

// surveyQueue refuses a socket with data that was not read yet.
func (t *target) surveyQueue(v *view, s *snapshot.Socket) (ok bool, err error) {
	if isDatagram(s) || s.Type == unix.SOCK_STREAM && s.Family == unix.AF_UNIX {
		return true, nil
	}
	if n, err := unix.IoctlGetInt(v.fd, unix.TIOCINQ); err == nil && n > 0 {
		if !t.surveying() {
			t.refuse(v.object(), "what was received and not read yet would be lost", tryAgain)
		}
		return t.surveying(), nil
	}
	return true, nil
}

// unlinked tells whether a unix socket was bound to a name in the file system that
// does not lead to it any more.
func (t *target) unlinked(v *view, s *snapshot.Socket) (bool, error) {
	const path = 2
	if s.Family != unix.AF_UNIX || len(s.Local) <= path || s.Local[path] == 0 {
		return false, nil
	}
	info, err := unixDiag(v.st.Ino)
	if err != nil {
		return false, fmt.Errorf("sock_diag: %w", err)
	}
	name := string(bytes.TrimRight(s.Local[path:], "\x00"))
	if name[0] != '/' { // relative to where it was bound; most programs stay there
		name = fmt.Sprintf("/proc/%d/cwd/%s", t.pid, name)
	}
	var st unix.Stat_t
	err = unix.Lstat(name, &st)
	return err != nil || st.Ino&(1<<32-1) != info.name, nil
}

// localAddress returns the address that a socket is bound to, empty if to none.
func localAddress(fd int) ([]byte, error) {
	addr, err := tracer.SocketName(fd)
	if err != nil {
		return nil, fmt.Errorf("getsockname: %w", err)
	}
	const family, port = 2, 2
	switch {
	case len(addr) <= family: // an unbound unix socket
		return nil, nil
	case addr[0] != unix.AF_UNIX && bytes.Equal(addr[family:family+port], []byte{0, 0}):
		return nil, nil
	}
	return addr, nil
}

// changedOptions returns the options that differ from those of a fresh socket.
func changedOptions(fd int, s *snapshot.Socket) ([]snapshot.SocketOption, error) {
	fresh, err := unix.Socket(s.Family, s.Type|unix.SOCK_CLOEXEC, s.Protocol)
	if err != nil {
		return nil, fmt.Errorf("a socket to compare with: %w", err)
	}
	defer unix.Close(fresh)
	out := []snapshot.SocketOption{}
	for _, o := range socketOptions {
		value, err := getsockopt(fd, o.level, o.name)
		if errors.Is(err, unix.ENOPROTOOPT) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL) {
			continue // not an option of this kind of socket
		}
		if err != nil {
			return nil, fmt.Errorf("socket option %d/%d: %w", o.level, o.name, err)
		}
		usual, err := getsockopt(fresh, o.level, o.name)
		if err == nil && !bytes.Equal(value, usual) {
			out = append(out, snapshot.SocketOption{Level: o.level, Name: o.name, Value: value})
		}
	}
	return out, nil
}
