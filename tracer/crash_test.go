package tracer

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/crtrace/crtrace/tracer/procfs"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// injector is the tracer that will be killed: it makes calls in all threads of a
// process, for ever.
func injector(args []string) error {
	pid, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	for first := true; ; first = false {
		err := Do(func() error {
			p, err := Freeze(pid, nil)
			if err != nil {
				return err
			}
			if first {
				fmt.Println("ready")
			}
			r, err := p.Remote()
			if err != nil {
				return errors.Join(err, p.Release())
			}
			return errors.Join(callAll(p, r, 10), r.Close(), p.Release())
		})
		if errors.Is(err, ErrTaskGone) {
			if _, gone := procfs.Tasks(pid); gone == nil {
				continue // only a thread has ended
			}
		}
		if err != nil {
			return err
		}
	}
}

// callAll makes calls in every thread and checks their results.
func callAll(p *Process, r *Remote, calls int) error {
	for _, t := range p.Tasks {
		for range calls {
			got, err := r.Call(t, unix.SYS_GETTID)
			if err != nil || int(got) != t.TID {
				return fmt.Errorf("gettid in task %d: %d, %w", t.TID, got, err)
			}
		}
		if _, err := r.Call(t, unix.SYS_SIGALTSTACK, 0, r.Area); err != nil {
			return err
		}
		const getpid32 = 20
		if got, err := r.Call32(t, getpid32); err != nil || int(got) != p.PID {
			return fmt.Errorf("getpid by int 0x80 in task %d: %d, %w", t.TID, got, err)
		}
	}
	return nil
}

// trace is what a tracer could leave behind in a process.
type trace struct {
	Maps    []string
	FDs     int
	Blocked map[int]uint64
}

// traces reads it; it fails while a thread is stopped or traced.
func traces(pid int) (trace, error) {
	out := trace{Blocked: map[int]uint64{}}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return out, err
	}
	for line := range strings.Lines(string(text)) {
		out.Maps = append(out.Maps, strings.Join(strings.Fields(line), " "))
	}
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return out, err
	}
	out.FDs = len(fds)
	tids, err := procfs.Tasks(pid)
	if err != nil {
		return out, err
	}
	for _, tid := range tids {
		s, err := procfs.ReadTaskStatus(pid, tid)
		if err != nil {
			return out, err
		}
		stat, err := procfs.ReadTaskStat(pid, tid)
		if err != nil {
			return out, err
		}
		if s.TracerPid != 0 || stat.State == 't' || stat.State == 'T' {
			return out, fmt.Errorf("task %d is in state %c, traced by %d", tid, stat.State, s.TracerPid)
		}
		out.Blocked[tid] = s.SigBlk
	}
	return out, nil
}

// clean waits until a process shows no trace of a tracer any more.
func (c *child) clean(before trace) {
	c.t.Helper()
	const limit = 20 * time.Second
	deadline, tick := time.NewTimer(limit), time.NewTicker(time.Millisecond)
	defer deadline.Stop()
	defer tick.Stop()
	for {
		if c.over() {
			c.t.Fatalf("the program ended: %v\n%s", c.cmd.ProcessState, strings.Join(c.output(), "\n"))
		}
		now, err := traces(c.pid)
		diff := cmp.Diff(before, now)
		if err == nil && diff == "" {
			return
		}
		select {
		case <-deadline.C:
			c.t.Fatalf("left behind: %v (-before +after)\n%s", err, diff)
		case <-tick.C:
		}
	}
}

// kills is how many tracers are killed: as many as CRTRACE_TEST_STRESS says.
func kills() int {
	if n, err := strconv.Atoi(os.Getenv("CRTRACE_TEST_STRESS")); err == nil {
		return n
	}
	return 30
}

// killAtRandom starts a tracer, lets it work for a moment and kills it.
func killAtRandom(t *testing.T, c *child) {
	t.Helper()
	const most = 5000 // microseconds
	defer func() {
		if t.Failed() {
			t.Logf("over %v; the program has said: %s", c.over(), strings.Join(c.output(), "\n"))
		}
	}()
	in := begin(t, self(t, "injector", strconv.Itoa(c.pid)))
	moment := time.NewTimer(time.Duration(rand.IntN(most)) * time.Microsecond)
	select {
	case <-moment.C:
	case <-in.ended:
		t.Fatalf("the tracer failed: %s; the program: %v", strings.Join(in.output(), "\n"), c.output())
	}
	if err := in.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-in.ended
}

// TestKilledTracer: wherever a tracer is killed, the program goes on unharmed.
func TestKilledTracer(t *testing.T) {
	for _, c := range []struct {
		name string
		cmd  func(t *testing.T) *exec.Cmd
	}{
		{"threads", func(t *testing.T) *exec.Cmd { return exec.Command(compile(t, "busy")) }},
		{"threads of a 32-bit program", func(t *testing.T) *exec.Cmd {
			return exec.Command(compile(t, "busy", "-m32", "-msse2", "-mfpmath=sse"))
		}},
		{"signals", func(t *testing.T) *exec.Cmd { return exec.Command(compile(t, "busy"), "alarms") }},
		{"signals of a 32-bit program", func(t *testing.T) *exec.Cmd {
			return exec.Command(compile(t, "busy", "-m32", "-msse2", "-mfpmath=sse"), "alarms")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			victim := begin(t, c.cmd(t))
			before, err := traces(victim.pid)
			if err != nil {
				t.Fatal(err)
			}
			for range kills() {
				killAtRandom(t, victim)
				victim.clean(before)
			}
			victim.pass()
			t.Log(victim.output()[1:])
		})
	}
}

// TestKilledTracerOfGoroutines: the same for a Go program. Its threads come and
// go and its stacks have no room below the stack pointer.
func TestKilledTracerOfGoroutines(t *testing.T) {
	victim := begin(t, self(t, "goroutines"))
	for range kills() {
		killAtRandom(t, victim)
		victim.await("no thread is stopped, nothing is mapped", func() bool {
			now, err := traces(victim.pid)
			return err == nil && !strings.Contains(strings.Join(now.Maps, "\n"), "10000000-10004000")
		})
	}
	victim.pass()
}

// goroutines is a program of many goroutines on small stacks, which grow, are
// moved by the collector and are checked for their content.
func goroutines([]string) error {
	var stop atomic.Bool
	const workers = 16
	failed := make(chan error, workers)
	for i := range workers {
		go func() {
			for !stop.Load() {
				if got := deep(i, 60); got != i+60 {
					failed <- fmt.Errorf("worker %d got %d", i, got)
					return
				}
				runtime.Gosched()
			}
			failed <- nil
		}()
	}
	go func() {
		for !stop.Load() {
			runtime.GC()
			<-time.After(time.Millisecond)
		}
	}()
	fmt.Println("ready")
	var b [1]byte
	for {
		if _, err := os.Stdin.Read(b[:]); err != nil {
			break
		}
	}
	stop.Store(true)
	for range workers {
		if err := <-failed; err != nil {
			return err
		}
	}
	fmt.Println("PASS")
	return nil
}

// deep uses a little stack in every frame and finds it again afterwards.
//
//go:noinline
func deep(seed, left int) int {
	var mark [16]int
	for i := range mark {
		mark[i] = seed ^ i ^ left
	}
	got := seed
	if left > 0 {
		got = deep(seed, left-1) + 1
	}
	for i := range mark {
		if mark[i] != seed^i^left {
			return -1
		}
	}
	return got
}
