package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crtrace/crtrace/cmd/internal/exitcode"
	"github.com/crtrace/crtrace/cmd/internal/rundir"
	"github.com/crtrace/crtrace/cmd/internal/wire"
	"github.com/crtrace/crtrace/snapshot"
	"github.com/crtrace/crtrace/snapshot/capture"
	"github.com/crtrace/crtrace/tracer"
	"github.com/crtrace/crtrace/tracer/procfs"
)

// requestTime is how long a client may take to state its request.
const requestTime = 10 * time.Second

// maxClients is how many connections are served at a time; more wait in the
// socket's queue.
const maxClients = 16

// server answers requests on a program's socket.
type server struct {
	s        *Supervisor
	listener *net.UnixListener
	places   chan struct{}
	ctx      context.Context // ends with the server
	cancel   context.CancelFunc
	clients  sync.WaitGroup
}

// newServer binds the socket of s's program. A socket under that name whose
// supervisor is gone is replaced.
func newServer(s *Supervisor) (*server, error) {
	dir, err := rundir.Prepare(s.cfg.RuntimeDir)
	if err != nil {
		return nil, err
	}
	path := rundir.Socket(dir, s.cfg.outside(s.pid))
	listener, err := bind(dir, path)
	if err != nil {
		return nil, fmt.Errorf("socket for process %d: %w", s.pid, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &server{s: s, listener: listener, places: make(chan struct{}, maxClients), ctx: ctx, cancel: cancel}, nil
}

// bind makes the socket path in dir, in the place of a stale one.
func bind(dir, path string) (*net.UnixListener, error) {
	unlock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	addr := &net.UnixAddr{Name: path}
	listener, err := net.ListenUnix("unix", addr)
	if errors.Is(err, unix.EADDRINUSE) && stale(path) {
		if err := os.Remove(path); err != nil {
			return nil, err
		}
		listener, err = net.ListenUnix("unix", addr)
	}
	if err != nil {
		return nil, err
	}
	// The directory is closed to others; the mode is a second lock.
	if err := os.Chmod(path, 0o600); err != nil {
		_ = listener.Close()
		return nil, err
	}
	return listener, nil
}

// close removes the socket, cancels what is under way and waits until that is
// rolled back and answered.
func (v *server) close() {
	_ = v.listener.Close() // removes the name too
	v.cancel()
	v.clients.Wait()
}

// serve accepts connections until close.
func (v *server) serve() {
	for {
		v.places <- struct{}{}
		conn, err := v.listener.AcceptUnix()
		if err != nil {
			<-v.places
			if errors.Is(err, net.ErrClosed) {
				return
			}
			v.s.cfg.Log.Warn("accept", "error", err)
			continue
		}
		v.clients.Go(func() {
			defer func() { <-v.places }()
			defer conn.Close()
			if err := v.handle(conn); err != nil {
				v.s.cfg.Log.Warn("request", "error", err)
			}
		})
	}
}

// handle serves one connection: a request, a reply.
func (v *server) handle(conn *net.UnixConn) error {
	cred, err := Peer(conn)
	if err != nil {
		return err
	}
	if !allowed(cred.Uid, os.Geteuid()) {
		return fmt.Errorf("refused: it comes from user %d", cred.Uid)
	}
	if err := conn.SetReadDeadline(time.Now().Add(requestTime)); err != nil {
		return err
	}
	var req wire.Request
	if err := wire.Read(conn, &req); err != nil {
		return errors.Join(err, wire.Write(conn, failed(exitcode.With(exitcode.Usage, err))))
	}
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(v.ctx)
	defer cancel()
	go func() {
		// The client has nothing more to say: whatever ends this read, be it the
		// client's death, ends the request. The connection's end ends the goroutine.
		_, _ = conn.Read(make([]byte, 1))
		cancel()
	}()
	return wire.Write(conn, v.answer(ctx, &req, func() bool { return hungUp(conn) }))
}

// hungUp tells whether the other end of a connection is closed, without waiting
// for the goroutine that reads it.
func hungUp(conn *net.UnixConn) bool {
	raw, err := conn.SyscallConn()
	if err != nil {
		return true
	}
	closed := false
	err = raw.Control(func(fd uintptr) {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		n, err := unix.Poll(fds, 0)
		closed = err == nil && n == 1 && fds[0].Revents&(unix.POLLHUP|unix.POLLRDHUP) != 0
	})
	return closed || err != nil
}

// allowed tells whether the user peer may ask a supervisor of the user own.
func allowed(peer uint32, own int) bool {
	return peer == 0 || int64(peer) == int64(own)
}

// Peer returns who is at the other end of a unix socket.
func Peer(conn *net.UnixConn) (*unix.Ucred, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return nil, err
	}
	return cred, os.NewSyscallError("getsockopt(SO_PEERCRED)", credErr)
}

// answer carries a request out.
func (v *server) answer(ctx context.Context, req *wire.Request, gone func() bool) wire.Reply {
	if err := req.Validate(); err != nil {
		return failed(exitcode.With(exitcode.Usage, err))
	}
	if req.Op == wire.OpPing {
		return wire.Reply{Pong: &wire.Pong{Supervisor: v.s.cfg.outside(os.Getpid()), Program: v.s.cfg.outside(v.s.pid)}}
	}
	result, err := v.checkpoint(ctx, req, gone)
	if err != nil {
		return failed(err)
	}
	return wire.Reply{Result: result}
}

// checkpoint waits for the turn and takes a checkpoint, if the client is still
// there then.
func (v *server) checkpoint(ctx context.Context, req *wire.Request, gone func() bool) (*capture.Result, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-v.s.turn:
	}
	defer func() {
		v.s.turn <- struct{}{}
		v.s.poke() // what was postponed
	}()
	if ctx.Err() != nil || gone() { // while we waited
		return nil, context.Canceled
	}
	// The pid is the client's idea; it may have ended and be in use again.
	pid := v.s.cfg.inside(req.PID)
	if pid == 0 || !inTree(pid, os.Getpid()) {
		return nil, fmt.Errorf("process %d: %w", req.PID, tracer.ErrTaskGone)
	}
	reaper := 0
	if pid == v.s.pid { // the whole tree, with the orphans that came to us
		reaper = os.Getpid()
	}
	rules, err := snapshot.ParseFileRules(req.Files)
	if err != nil {
		return nil, exitcode.With(exitcode.Usage, err)
	}
	v.s.cfg.Log.Info("checkpoint", "pid", req.PID, "dir", req.Dir)
	return v.s.cfg.Checkpoint(ctx, pid, capture.Options{
		Dir: req.Dir, Kill: req.Kill, SaveFiles: req.SaveFiles, Files: rules, TCPClose: req.TCPClose, Tool: v.s.cfg.Tool, Log: v.s.cfg.Log,
		Sleeps: v.s.cfg.Sleeps, Reaper: reaper,
	})
}

// inTree tells whether top is an ancestor of pid.
func inTree(pid, top int) bool {
	return slices.Contains(procfs.Ancestors(pid), top)
}

// failed turns an error into a reply that keeps its exit status.
func failed(err error) wire.Reply {
	e := &wire.Error{Kind: "failure", Message: err.Error(), Exit: exitcode.From(err)}
	switch e.Exit {
	case exitcode.Unsupported:
		e.Kind = "unsupported"
	case exitcode.Permission:
		e.Kind = "permission"
	case exitcode.Gone:
		e.Kind = "gone"
	case exitcode.Usage:
		e.Kind = "usage"
	}
	if errors.Is(err, fs.ErrExist) {
		e.Kind = "exists"
	}
	if u, ok := errors.AsType[*capture.UnsupportedError](err); ok {
		e.Problems = u.Problems
		for len(e.Message) > wire.MaxFrame/4 || len(e.Problems) > 1000 { // a reply must fit into a frame
			e.Problems = e.Problems[:len(e.Problems)/2]
			e.Message = (&capture.UnsupportedError{Problems: e.Problems}).Error() + "\n(and more)"
		}
	}
	return wire.Reply{Error: e}
}
