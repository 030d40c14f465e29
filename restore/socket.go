package restore

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/crtrace/crtrace/snapshot"
	"golang.org/x/sys/unix"
)

// openSocket makes a socket with its options, address and queue of connections.
func openSocket(b *broker, d *snapshot.Description) (int, error) {
	s := d.Detail.(*snapshot.Socket)
	fd, err := unix.Socket(s.Family, s.Type|unix.SOCK_CLOEXEC, s.Protocol)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	b.keep(fd)
	for _, o := range s.Options {
		if err := setOption(fd, o); err != nil {
			return -1, fmt.Errorf("socket option %d/%d: %w", o.Level, o.Name, err)
		}
	}
	if len(s.Local) > 0 {
		if err := b.bind(fd, s); err != nil {
			return -1, err
		}
	}
	return fd, setStatus(fd, d)
}

// setOption sets a socket option from its raw value. The kernel doubles the
// sizes of buffers when they are set.
func setOption(fd int, o snapshot.SocketOption) error {
	if o.Level == unix.SOL_SOCKET && (o.Name == unix.SO_RCVBUF || o.Name == unix.SO_SNDBUF) && len(o.Value) == 4 {
		v := int(uint32(o.Value[0])|uint32(o.Value[1])<<8|uint32(o.Value[2])<<16|uint32(o.Value[3])<<24) / 2
		return unix.SetsockoptInt(fd, o.Level, o.Name, v)
	}
	return unix.SetsockoptString(fd, o.Level, o.Name, string(o.Value))
}

// bind binds a socket to its old address and lets it listen again, if it did.
func (b *broker) bind(fd int, s *snapshot.Socket) error {
	switch {
	case s.Family != unix.AF_UNIX:
		return bindPort(fd, s)
	case s.Unlinked:
		return b.inDirectory(s, s.Local, func() error {
			return withName(s.Local, func() error { return bindListen(bindRaw, fd, s) })
		})
	}
	return b.inDirectory(s, s.Local, func() error { return bindListen(bindUnix, fd, s) })
}

// bindListen binds a unix socket in some way and lets it listen again, if it did.
func bindListen(bind func(fd int, addr []byte) error, fd int, s *snapshot.Socket) error {
	if err := bind(fd, s.Local); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	return listen(fd, s)
}

func listen(fd int, s *snapshot.Socket) error {
	if !s.Listen {
		return nil
	}
	if err := unix.Listen(fd, s.Backlog); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	return nil
}

// bindPort binds to a port. That of connections that live or have just been closed
// is free for a listener (SO_REUSEADDR), which the kernel checks for both calls.
func bindPort(fd int, s *snapshot.Socket) error {
	before, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR)
	if err != nil {
		return err
	}
	if s.Type == unix.SOCK_STREAM {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return err
		}
	}
	if err := bindRaw(fd, s.Local); err != nil {
		if errors.Is(err, unix.EADDRINUSE) {
			return fmt.Errorf("bind: %w: another program has the port now", err)
		}
		return fmt.Errorf("bind: %w", err)
	}
	if err := listen(fd, s); err != nil {
		return err
	}
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, before)
}

// bindUnix binds a unix socket. The name that the old socket left behind in the
// file system is removed, unless somebody listens there.
func bindUnix(fd int, addr []byte) error {
	err := bindRaw(fd, addr)
	path := pathOf(addr)
	if !errors.Is(err, unix.EADDRINUSE) || path == "" {
		return err
	}
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return fmt.Errorf("%s is something else now", path)
	}
	probe, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(probe)
	if err := unix.Connect(probe, &unix.SockaddrUnix{Name: path}); !errors.Is(err, unix.ECONNREFUSED) && !errors.Is(err, unix.EPROTOTYPE) {
		return fmt.Errorf("another program listens on %s", path)
	}
	if err := unix.Unlink(path); err != nil {
		return fmt.Errorf("remove the old socket %s: %w", path, err)
	}
	if err := bindRaw(fd, addr); err != nil {
		return err
	}
	return unix.Chmod(path, st.Mode&0o777)
}

// pathOf returns the name of a unix socket in the file system, empty if the address
// is none.
func pathOf(addr []byte) string {
	const family, path = 2, 2
	if len(addr) <= family || addr[0] != unix.AF_UNIX || addr[path] == 0 { // 0: an abstract one
		return ""
	}
	return string(bytes.TrimRight(addr[path:], "\x00"))
}

// inDirectory runs fn in the working directory of the process that has the
// socket: the name of a unix socket may be relative, and getsockname shows it as
// it was. The working directory of this thread alone changes, for good.
func (b *broker) inDirectory(s snapshot.Detail, addr []byte, fn func() error) error {
	if path := pathOf(addr); path == "" || path[0] == '/' {
		return fn()
	}
	for i := range b.m.Processes {
		proc := &b.m.Processes[i]
		for _, fd := range proc.FDs {
			if b.m.Descriptions[fd.Description].Detail != s {
				continue
			}
			if err := unix.Unshare(unix.CLONE_FS); err != nil {
				return fmt.Errorf("unshare: %w", err)
			}
			if err := unix.Chdir(proc.Cwd); err != nil {
				return fmt.Errorf("change to %s: %w", proc.Cwd, err)
			}
		}
	}
	return fn()
}
