package tracer

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// roleVariable tells this test binary, executed again, what it is.
const roleVariable = "CRTRACE_TRACER_TEST_ROLE"

// programs is where the test programs are compiled to; TestMain makes it.
var programs string

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		os.Exit(play(role))
	}
	for fd := 3; fd < 256; fd++ { // what this process has inherited is not for its children
		syscall.CloseOnExec(fd)
	}
	dir, err := os.MkdirTemp("", "tracer-test-")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	programs = dir
	status := m.Run()
	os.RemoveAll(dir)
	os.Exit(status)
}

// play runs one of the roles of the executed-again test binary.
func play(role string) int {
	roles := map[string]func([]string) error{"injector": injector, "goroutines": goroutines, "guarder": guarder}
	run, ok := roles[role]
	if !ok {
		fmt.Fprintf(os.Stderr, "unknown role %q\n", role)
		return 2
	}
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "FAIL", err)
		return 3
	}
	return 0
}

// self is this test binary in a role.
func self(t *testing.T, role string, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, args...)
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	return cmd
}

var compiled sync.Map // source and flags to the path of the program

// compile builds testdata/NAME.c; a machine without the compiler skips the test.
func compile(t *testing.T, name string, flags ...string) string {
	t.Helper()
	key := name + strings.Join(flags, "")
	if path, ok := compiled.Load(key); ok {
		return path.(string)
	}
	out := filepath.Join(programs, key)
	probe := exec.Command("gcc", append([]string{"-x", "c", "-o", out, "-"}, flags...)...)
	probe.Stdin = strings.NewReader("#include <stdio.h>\nint main(void) { return 0; }\n")
	if text, err := probe.CombinedOutput(); err != nil {
		t.Skipf("no compiler for %v: %v %s", flags, err, text)
	}
	args := append([]string{"-O2", "-Wall", "-Wextra", "-Werror", "-pthread", "-o", out, filepath.Join("testdata", name+".c")}, flags...)
	if text, err := exec.Command("gcc", args...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	compiled.Store(key, out)
	return out
}

// child is a program under test. Its input is a pipe; it prints "ready" first.
type child struct {
	t     *testing.T
	cmd   *exec.Cmd
	pid   int
	in    io.WriteCloser
	ended chan struct{}

	mu    sync.Mutex
	lines []string // guarded by mu
}

// begin starts a program and waits until it is ready.
func begin(t *testing.T, cmd *exec.Cmd) *child {
	t.Helper()
	c := &child{t: t, cmd: cmd, ended: make(chan struct{})}
	var err error
	if c.in, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	c.pid = cmd.Process.Pid
	read := make(chan struct{})
	go func() {
		defer close(read)
		for s := bufio.NewScanner(r); s.Scan(); {
			c.mu.Lock()
			c.lines = append(c.lines, s.Text())
			c.mu.Unlock()
		}
		r.Close()
	}()
	go func() {
		<-read
		_ = cmd.Wait() // ProcessState tells
		close(c.ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		<-c.ended
	})
	c.await("ready", func() bool { return c.has("ready") })
	return c
}

// has tells whether the program has printed a line that begins so.
func (c *child) has(prefix string) bool {
	for _, l := range c.output() {
		if strings.HasPrefix(l, prefix) {
			return true
		}
	}
	return false
}

func (c *child) output() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.lines...)
}

func (c *child) over() bool {
	select {
	case <-c.ended:
		return true
	default:
		return false
	}
}

// await waits for a condition while the program lives.
func (c *child) await(what string, condition func() bool) {
	c.t.Helper()
	eventually(c.t, what, func() bool {
		if condition() {
			return true
		}
		if c.over() && !condition() {
			c.t.Fatalf("waiting for %s: the program ended: %v\n%s", what, c.cmd.ProcessState, strings.Join(c.output(), "\n"))
		}
		return false
	})
}

// must ends the test with what the program has said and how it ended.
func (c *child) must(err error) {
	c.t.Helper()
	if err == nil {
		return
	}
	if errors.Is(err, ErrTaskGone) {
		eventually(c.t, err.Error(), c.over)
	}
	c.t.Fatalf("%v; the program (%v) has said:\n%s", err, c.cmd.ProcessState, strings.Join(c.output(), "\n"))
}

// pass ends the program's input and checks its end.
func (c *child) pass() {
	c.t.Helper()
	c.in.Close()
	eventually(c.t, "the end of the program", c.over)
	if !c.cmd.ProcessState.Success() || !c.has("PASS") {
		c.t.Fatalf("%v\n%s", c.cmd.ProcessState, strings.Join(c.output(), "\n"))
	}
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	const limit, step = 60 * time.Second, 500 * time.Microsecond
	deadline, tick := time.NewTimer(limit), time.NewTicker(step)
	defer deadline.Stop()
	defer tick.Stop()
	for !condition() {
		select {
		case <-deadline.C:
			t.Fatalf("%s: not within %v", what, limit)
		case <-tick.C:
		}
	}
}

// frozen runs fn on the frozen process and lets it go.
func frozen(pid int, sleeps *Sleeps, fn func(*Process) error) error {
	return Do(func() error {
		p, err := Freeze(pid, sleeps)
		if err != nil {
			return err
		}
		return errors.Join(fn(p), p.Release())
	})
}

// inside runs fn with a Remote in the frozen process.
func inside(pid int, fn func(*Process, *Remote) error) error {
	return frozen(pid, nil, func(p *Process) error {
		r, err := p.Remote()
		if err != nil {
			return err
		}
		return errors.Join(fn(p, r), r.Close())
	})
}
