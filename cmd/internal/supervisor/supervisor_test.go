package supervisor

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crtrace/crtrace/cmd/internal/exitcode"
	"github.com/crtrace/crtrace/cmd/internal/rundir"
	"github.com/crtrace/crtrace/cmd/internal/wire"
	"github.com/crtrace/crtrace/snapshot/capture"
)

// limit is how long a test waits for something that must happen.
const limit = 20 * time.Second

// watched is a supervisor of this process with a child that reads from a pipe.
type watched struct {
	*Supervisor
	dir    string
	input  *os.File // closing it ends the child with status 0
	status chan int
}

// watch starts a child and its supervisor. Such tests must not run in parallel:
// a supervisor waits for every child of its process.
func watch(t *testing.T, checkpoint CheckpointFunc) *watched {
	t.Helper()
	dir := shortDir(t)
	s, err := New(Config{RuntimeDir: dir, Checkpoint: checkpoint, Tool: "test"})
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	pid, _, err := syscall.StartProcess("/bin/cat", []string{"cat"}, &syscall.ProcAttr{Files: []uintptr{r.Fd(), 1, 2}})
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	c := &watched{Supervisor: s, dir: dir, input: w, status: make(chan int, 1)}
	if err := s.listen(pid); err != nil {
		t.Fatal(err)
	}
	go func() {
		code, err := s.run()
		if err != nil {
			t.Error(err)
		}
		c.status <- code
	}()
	return c
}

// shortDir is a private directory whose sockets have short enough names.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sv")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// end lets the child end and checks what is left.
func (c *watched) end(t *testing.T, want int) {
	t.Helper()
	_ = c.input.Close()
	c.expect(t, want)
	c.Close()
	if left, err := os.ReadDir(c.dir); err != nil || len(left) > 0 {
		t.Errorf("left in the runtime directory: %v, %v", left, err)
	}
}

// expect waits for the child's status.
func (c *watched) expect(t *testing.T, want int) {
	t.Helper()
	select {
	case got := <-c.status:
		if got != want {
			t.Errorf("status %d, want %d", got, want)
		}
	case <-time.After(limit):
		t.Fatal("the supervisor does not notice the end of its program")
	}
}

// find pings the supervisor.
func (c *watched) find(t *testing.T) *Remote {
	t.Helper()
	r, err := Find(t.Context(), c.dir, os.Geteuid(), c.pid)
	if err != nil || r == nil {
		t.Fatalf("no supervisor found: %v, %v", r, err)
	}
	return r
}

func await(t *testing.T, ch <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-ch:
	case <-time.After(limit):
		t.Fatal("waited in vain: " + what)
	}
}

func TestCheckpointOverSocket(t *testing.T) {
	var got capture.Options
	var gotPID int
	c := watch(t, func(_ context.Context, pid int, o capture.Options) (*capture.Result, error) {
		got, gotPID = o, pid
		return &capture.Result{Dir: o.Dir, Threads: 3}, nil
	})
	r := c.find(t)
	if r.Program != c.pid || r.Supervisor != os.Getpid() {
		t.Errorf("pong %+v", r.Pong)
	}
	if s := FindBySupervisor(t.Context(), c.dir, os.Geteuid(), os.Getpid()); s == nil || s.Program != c.pid {
		t.Errorf("found by the supervisor's pid: %v", s)
	}
	reply, err := r.Do(t.Context(), &wire.Request{Op: wire.OpCheckpoint, PID: c.pid, Dir: "/x/y", Kill: true, SaveFiles: true})
	if err != nil || reply.Result == nil || reply.Result.Threads != 3 {
		t.Errorf("reply %+v, %v", reply, err)
	}
	if gotPID != c.pid || got.Dir != "/x/y" || !got.Kill || !got.SaveFiles || got.Tool != "test" {
		t.Errorf("checkpoint of %d with %+v", gotPID, got)
	}
	c.end(t, 0)
}

func TestErrorsKeepTheirStatus(t *testing.T) {
	refusal := &capture.UnsupportedError{Problems: []capture.Problem{{PID: 5, Object: "descriptor 3", Why: "a socket"}}}
	c := watch(t, func(context.Context, int, capture.Options) (*capture.Result, error) { return nil, refusal })
	r := c.find(t)
	for _, tc := range []struct {
		req  wire.Request
		kind string
		exit int
	}{
		{wire.Request{Op: wire.OpCheckpoint, PID: c.pid, Dir: "/x"}, "unsupported", exitcode.Unsupported},
		{wire.Request{Op: wire.OpCheckpoint, PID: 1, Dir: "/x"}, "gone", exitcode.Gone}, // not in the tree
		{wire.Request{Op: wire.OpCheckpoint, PID: c.pid, Dir: "x"}, "usage", exitcode.Usage},
		{wire.Request{Op: "shell"}, "usage", exitcode.Usage},
	} {
		reply, err := r.Do(t.Context(), &tc.req)
		if err != nil || reply.Error == nil || reply.Error.Kind != tc.kind || exitcode.From(reply.Error) != tc.exit {
			t.Errorf("%+v: reply %+v, %v; want %s with status %d", tc.req, reply, err, tc.kind, tc.exit)
		}
	}
	c.end(t, 0)
}

// TestTurns: the second request waits for the first, and one whose client goes
// away while it waits is not carried out.
func TestTurns(t *testing.T) {
	started, release, finished := make(chan struct{}), make(chan struct{}), make(chan struct{})
	count := 0
	c := watch(t, func(context.Context, int, capture.Options) (*capture.Result, error) {
		count++ // under the turn
		close(started)
		<-release
		return &capture.Result{}, nil
	})
	r := c.find(t)
	req := &wire.Request{Op: wire.OpCheckpoint, PID: c.pid, Dir: "/x"}
	go func() {
		defer close(finished)
		if _, err := r.Do(t.Context(), req); err != nil {
			t.Error(err)
		}
	}()
	await(t, started, "the first request")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := r.Do(ctx, req); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("second request: %v, want it to wait", err)
	}
	close(release)
	await(t, finished, "the first reply")
	c.end(t, 0)
	if count != 1 {
		t.Errorf("%d checkpoints, want 1", count)
	}
}

func TestDisconnectCancels(t *testing.T) {
	started, cancelled := make(chan struct{}), make(chan struct{})
	c := watch(t, func(ctx context.Context, _ int, _ capture.Options) (*capture.Result, error) {
		close(started)
		<-ctx.Done()
		close(cancelled)
		return nil, ctx.Err()
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	r := c.find(t)
	go func() {
		_, err := r.Do(ctx, &wire.Request{Op: wire.OpCheckpoint, PID: c.pid, Dir: "/x"})
		done <- err
	}()
	await(t, started, "the checkpoint")
	cancel()
	await(t, cancelled, "the cancellation")
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("client: %v", err)
	}
	c.end(t, 0)
}

// TestNoWaitDuringCheckpoint: a checkpoint traces the child and must get its
// stops, not the supervisor; and an exit meanwhile is not lost.
func TestNoWaitDuringCheckpoint(t *testing.T) {
	var c *watched
	c = watch(t, func(context.Context, int, capture.Options) (*capture.Result, error) {
		var err error
		done := make(chan struct{})
		go func() {
			defer close(done)
			err = stopOften(c.pid)
		}()
		<-done
		_ = unix.Kill(c.pid, unix.SIGKILL)
		return nil, err
	})
	reply, err := c.find(t).Do(t.Context(), &wire.Request{Op: wire.OpCheckpoint, PID: c.pid, Dir: "/x"})
	if err != nil || reply.Error == nil || reply.Error.Message != errFine.Error() {
		t.Errorf("reply %+v, %v", reply.Error, err)
	}
	c.end(t, 128+9)
}

var errFine = errors.New("all stops were seen")

func TestStaleSocketIsReplaced(t *testing.T) {
	dir := shortDir(t)
	path := rundir.Socket(dir, 77)
	old, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	old.SetUnlinkOnClose(false)
	if _, err := bind(dir, path); err == nil {
		t.Fatal("the socket of a living supervisor was taken away")
	}
	_ = old.Close()
	fresh, err := bind(dir, path)
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", st.Mode(), err)
	}
	fresh.SetUnlinkOnClose(false)
	_ = fresh.Close()
	if r, err := Find(t.Context(), dir, os.Geteuid(), 77); r != nil || err != nil {
		t.Errorf("found %v, %v behind a stale socket", r, err)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the client has left the stale socket: %v", err)
	}
}

func TestPlantedDirectoryIsNotAsked(t *testing.T) {
	dir := shortDir(t)
	link := filepath.Join(shortDir(t), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	if got := verified(link, os.Geteuid()); len(got) != 0 {
		t.Errorf("a link is trusted: %q", got)
	}
	if _, err := rundir.Prepare(link); err == nil || !strings.Contains(err.Error(), "symbolic link") {
		t.Errorf("a socket would be made behind a link: %v", err)
	}
}

func TestAllowed(t *testing.T) {
	for _, tc := range []struct {
		peer uint32
		own  int
		want bool
	}{{1001, 1001, true}, {0, 1001, true}, {1002, 1001, false}, {1001, 0, false}, {0, 0, true}, {^uint32(0), -1, false}} {
		if got := allowed(tc.peer, tc.own); got != tc.want {
			t.Errorf("peer %d of a supervisor of %d: %t", tc.peer, tc.own, got)
		}
	}
	server, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(shortDir(t), "s")})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	conn, err := net.DialUnix("unix", nil, server.Addr().(*net.UnixAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	cred, err := Peer(conn)
	if err != nil || int(cred.Uid) != os.Geteuid() || int(cred.Pid) != os.Getpid() {
		t.Errorf("peer %+v, %v", cred, err)
	}
}

func TestGainsPrivilege(t *testing.T) {
	dir := t.TempDir()
	plain, suid := filepath.Join(dir, "plain"), filepath.Join(dir, "suid")
	script, deep := filepath.Join(dir, "script"), filepath.Join(dir, "deep")
	for path, content := range map[string]string{plain: "", suid: "", script: "#! " + suid + " -x\n", deep: "#!" + script} {
		if err := os.WriteFile(path, []byte(content), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(suid, 0o700|os.ModeSetuid); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{plain: false, suid: true, script: true, deep: true, filepath.Join(dir, "no"): false} {
		if got := gainsPrivilege(path); got != want {
			t.Errorf("%s: %t, want %t", filepath.Base(path), got, want)
		}
	}
}
