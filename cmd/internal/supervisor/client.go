package supervisor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crtrace/crtrace/cmd/internal/rundir"
	"github.com/crtrace/crtrace/cmd/internal/wire"
	"github.com/crtrace/crtrace/tracer/procfs"
)

// pingTime is how long a supervisor may take to say that it is there.
const pingTime = 2 * time.Second

// rollBackTime is how long a supervisor may take to undo a cancelled checkpoint.
const rollBackTime = 30 * time.Second

// ErrStopped tells that a program has a supervisor which can't answer, because
// job control has stopped it together with its program.
var ErrStopped = errors.New("its supervisor is stopped")

// Remote is a supervisor that has answered a ping.
type Remote struct {
	path string
	wire.Pong
}

// Find looks for the supervisor of pid, or else of the nearest ancestor that
// has one, in the runtime directories of the user uid. It returns nil when there
// is none. The error is ErrStopped when there is one that can't answer now.
func Find(ctx context.Context, forced string, uid, pid int) (*Remote, error) {
	dirs := verified(forced, uid)
	for _, p := range append([]int{pid}, procfs.Ancestors(pid)...) {
		for _, dir := range dirs {
			r, err := ping(ctx, rundir.Socket(dir, p))
			if errors.Is(err, ErrStopped) {
				return nil, err
			}
			if err == nil && r.Program == p {
				return r, nil
			}
		}
	}
	return nil, ctx.Err()
}

// FindBySupervisor returns the supervisor whose own pid is pid, nil if it is none.
func FindBySupervisor(ctx context.Context, forced string, uid, pid int) *Remote {
	for _, dir := range verified(forced, uid) {
		for _, p := range rundir.Programs(dir) {
			if r, err := ping(ctx, rundir.Socket(dir, p)); err == nil && r.Supervisor == pid {
				return r
			}
		}
	}
	return nil
}

// verified lists the runtime directories of a user that nobody else could have
// planted.
func verified(forced string, uid int) []string {
	var dirs []string
	for _, dir := range rundir.Candidates(forced, uid) {
		if rundir.Verify(dir, uid) == nil {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// ping asks whether somebody listens at path.
func ping(ctx context.Context, path string) (*Remote, error) {
	ctx, cancel := context.WithTimeout(ctx, pingTime)
	defer cancel()
	reply, err := exchange(ctx, path, &wire.Request{Op: wire.OpPing}, 0)
	if err != nil {
		return nil, err
	}
	if reply.Pong == nil {
		return nil, fmt.Errorf("socket %s: no answer to a ping", path)
	}
	return &Remote{path: path, Pong: *reply.Pong}, nil
}

// Do sends a request and waits for the reply. Cancelling ctx makes the supervisor
// roll back, which is waited for; a reply that tells of success comes through, for
// then it was too late to roll back.
func (r *Remote) Do(ctx context.Context, req *wire.Request) (*wire.Reply, error) {
	return exchange(ctx, r.path, req, rollBackTime)
}

// exchange sends one request to the socket at path and reads the reply, for which
// it waits no longer than patience once ctx is cancelled. A socket that nobody
// listens at is removed: its supervisor was killed.
func exchange(ctx context.Context, path string, req *wire.Request, patience time.Duration) (*wire.Reply, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if err != nil {
		if errors.Is(err, unix.ECONNREFUSED) {
			removeStale(path)
		}
		return nil, err
	}
	defer conn.Close()
	// The credentials are those of the process that called listen.
	if cred, err := Peer(conn.(*net.UnixConn)); err == nil {
		if st, err := procfs.ReadStat(int(cred.Pid)); err == nil && st.Stopped() {
			return nil, fmt.Errorf("%w (pid %d)", ErrStopped, cred.Pid)
		}
	}
	stop := context.AfterFunc(ctx, func() {
		_ = conn.(*net.UnixConn).CloseWrite() // the end of the request, for the server
		_ = conn.SetReadDeadline(time.Now().Add(patience))
	})
	defer stop()
	var reply wire.Reply
	if err = wire.Write(conn, req); err == nil {
		err = wire.Read(conn, &reply)
	}
	if err == nil {
		err = reply.Validate()
	}
	if ctx.Err() != nil && (err != nil || reply.Error != nil) {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("supervisor at %s: the connection broke: %w", path, err)
	}
	return &reply, nil
}

// removeStale removes a socket that nobody listens at. The directory must have
// been verified.
func removeStale(path string) {
	unlock, err := lockDir(filepath.Dir(path))
	if err != nil {
		return
	}
	defer unlock()
	if stale(path) {
		_ = os.Remove(path) // another client may have been faster
	}
}

// stale tells whether path is a socket that nobody listens at. The directory
// must be locked: between bind and listen a fresh socket looks the same.
func stale(path string) bool {
	conn, err := net.Dial("unix", path)
	if err != nil {
		return errors.Is(err, unix.ECONNREFUSED)
	}
	_ = conn.Close()
	return false
}

// lockDir takes the lock on making and removing sockets in dir. It lies on the
// directory itself and vanishes with its holder.
func lockDir(dir string) (unlock func(), err error) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	for {
		err = unix.Flock(fd, unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, &os.PathError{Op: "lock", Path: dir, Err: err}
	}
	return func() { _ = unix.Close(fd) }, nil
}
