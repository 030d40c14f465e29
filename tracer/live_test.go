package tracer

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/crtrace/crtrace/tracer/procfs"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// rounds is how often a live test freezes its program.
func rounds() int {
	if testing.Short() {
		return 10
	}
	return 50
}

// busy flags make floating-point results of 32-bit programs repeatable.
var busy32 = []string{"-m32", "-msse2", "-mfpmath=sse"}

// TestRemote: results and errors of calls come back, of both tables, in every
// thread, and Close leaves nothing.
func TestRemote(t *testing.T) {
	for name, flags := range map[string][]string{"64": nil, "32": busy32} {
		t.Run(name, func(t *testing.T) {
			c := begin(t, exec.Command(compile(t, "busy", flags...)))
			before, err := traces(c.pid)
			if err != nil {
				t.Fatal(err)
			}
			for range rounds() {
				err := inside(c.pid, func(p *Process, r *Remote) error {
					return errors.Join(callAll(p, r, 2), failingCalls(p, r), scratchArea(p, r))
				})
				c.must(err)
				c.clean(before)
			}
			c.pass()
		})
	}
}

// failingCalls checks that a failed call tells its error number.
func failingCalls(p *Process, r *Remote) error {
	_, err := r.Call(p.Leader(), unix.SYS_CLOSE, 12345)
	var remote *RemoteError
	if !errors.As(err, &remote) || remote.Errno != unix.EBADF || remote.TID != p.PID {
		return fmt.Errorf("close: %w, want EBADF in %d", err, p.PID)
	}
	const close32 = 6
	if _, err := r.Call32(p.Leader(), close32, 12345); !errors.Is(err, unix.EBADF) {
		return fmt.Errorf("close by int 0x80: %w, want EBADF", err)
	}
	return nil
}

// scratchArea checks that six arguments arrive and that the scratch area holds
// what was written to it.
func scratchArea(p *Process, r *Remote) error {
	const size = 4096
	want := []byte("scratch")
	if err := p.Mem.Write(r.Area, want); err != nil {
		return err
	}
	at, err := r.Call(p.Leader(), unix.SYS_MMAP, r.Area+1<<20, size, unix.PROT_READ,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|mapFixedNoReplace, ^uint64(0), 0)
	if err != nil {
		return err
	}
	if _, err := r.Call(p.Leader(), unix.SYS_MUNMAP, at, size); err != nil {
		return err
	}
	got := make([]byte, len(want))
	if err := p.Mem.Read(r.Area, got); err != nil {
		return err
	}
	if diff := cmp.Diff(want, got); diff != "" {
		return errors.New(diff)
	}
	return nil
}

// TestMasksAndRegisters: what Freeze reads is what the program has.
func TestMasksAndRegisters(t *testing.T) {
	c := begin(t, exec.Command(compile(t, "busy")))
	before, err := traces(c.pid)
	if err != nil {
		t.Fatal(err)
	}
	err = inside(c.pid, func(p *Process, r *Remote) error {
		for _, task := range p.Tasks {
			if task.Mask() != before.Blocked[task.TID] {
				t.Errorf("task %d: mask %#x, want %#x", task.TID, task.Mask(), before.Blocked[task.TID])
			}
			was := task.Regs()
			if _, err := r.Call(task, unix.SYS_GETTID); err != nil {
				return err
			}
			if diff := cmp.Diff(was, task.Regs()); diff != "" {
				t.Errorf("task %d: registers change by a call:\n%s", task.TID, diff)
			}
			if task.RSeq().Pointer == 0 {
				t.Logf("task %d has no rseq", task.TID)
			}
			if state, err := task.XState(); err != nil || len(state) < 576 {
				t.Errorf("task %d: extended state of %d bytes, %v", task.TID, len(state), err)
			}
		}
		if p.Leader().TID != p.PID || len(p.Tasks) != len(before.Blocked) {
			t.Errorf("leader %d of %d tasks, want %d of %d", p.Leader().TID, len(p.Tasks), p.PID, len(before.Blocked))
		}
		return nil
	})
	c.must(err)
	c.pass()
}

// TestSignalStorm: signals that come while the program is frozen and calls are
// made in it arrive afterwards: each once.
func TestSignalStorm(t *testing.T) {
	for name, flags := range map[string][]string{"64": nil, "32": {"-m32"}} {
		t.Run(name, func(t *testing.T) { signalStorm(t, flags) })
	}
}

func signalStorm(t *testing.T, flags []string) {
	c := begin(t, exec.Command(compile(t, "storm", flags...)))
	before, err := traces(c.pid)
	if err != nil {
		t.Fatal(err)
	}
	var stop atomic.Bool
	sent := make(chan [2]int)
	go func() {
		var n [2]int
		for !stop.Load() {
			if n[0]-n[1] < 500 && queue(c.pid, 36, n[0]) == nil { // SIGRTMIN+2 of the C library
				n[0]++
			}
			if len(c.output()) == n[1]+1 && unix.Kill(c.pid, unix.SIGUSR1) == nil { // the last one was answered
				n[1]++
			}
		}
		sent <- n
	}()
	for range 2 * rounds() {
		if err := inside(c.pid, func(p *Process, r *Remote) error { return callAll(p, r, 3) }); err != nil {
			t.Error(err)
			break
		}
	}
	stop.Store(true)
	n := <-sent
	c.await("the last SIGUSR1 is answered", func() bool { return len(c.output()) >= n[1]+1 })
	c.await("no signal is pending", func() bool {
		s, err := procfs.ReadTaskStatus(c.pid, c.pid)
		return err == nil && s.ShdPnd == 0 && s.SigPnd == 0
	})
	c.clean(before)
	c.pass()
	if want := fmt.Sprintf("counted %d %d", n[0], n[1]); !c.has(want) {
		t.Errorf("want %q:\n%s", want, strings.Join(c.output()[n[1]:], "\n"))
	}
	t.Logf("%d real-time signals, %d SIGUSR1", n[0], n[1])
}

// TestStopped: a stopped process stays stopped, and SIGCONT wakes it, be it sent
// before, during or after the freeze.
func TestStopped(t *testing.T) {
	c := begin(t, exec.Command(compile(t, "stopped")))
	state := func() byte {
		s, err := procfs.ReadTaskStat(c.pid, c.pid)
		if err != nil {
			return 0
		}
		return s.State
	}
	work := func(p *Process, r *Remote) error { return callAll(p, r, 2) }
	for i := range rounds() {
		if err := unix.Kill(c.pid, unix.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		c.await("it stops", func() bool { return state() == 'T' })
		for range 2 {
			err := inside(c.pid, func(p *Process, r *Remote) error {
				if p.Stopped != unix.SIGSTOP {
					t.Errorf("stopped by %v, want SIGSTOP", p.Stopped)
				}
				return work(p, r)
			})
			c.must(err)
			c.await("it is stopped again", func() bool { return state() == 'T' })
		}
		cont := func() error { return unix.Kill(c.pid, unix.SIGCONT) }
		if i%2 == 0 {
			err := inside(c.pid, func(p *Process, r *Remote) error { return errors.Join(cont(), work(p, r)) })
			c.must(err)
		} else {
			c.must(cont())
		}
		if _, err := c.in.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		c.await("it answers", func() bool { return len(c.output()) == i+2 })
		if last := c.output()[i+1]; last != fmt.Sprintf("continued %d", i+1) {
			t.Fatalf("round %d: %q", i+1, last)
		}
	}
	c.pass()
}

// TestStopWhileFrozen: a SIGSTOP that comes during the freeze stops the program
// when it is let go.
func TestStopWhileFrozen(t *testing.T) {
	c := begin(t, exec.Command(compile(t, "stopped")))
	for i := range rounds() {
		err := inside(c.pid, func(p *Process, r *Remote) error {
			if err := callAll(p, r, 1); err != nil {
				return err
			}
			return errors.Join(unix.Kill(c.pid, unix.SIGSTOP), callAll(p, r, 1))
		})
		c.must(err)
		c.await("it stops", func() bool {
			s, err := procfs.ReadTaskStat(c.pid, c.pid)
			return err == nil && s.State == 'T'
		})
		if err := unix.Kill(c.pid, unix.SIGCONT); err != nil {
			t.Fatal(err)
		}
		if _, err := c.in.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		c.await("it answers", func() bool { return len(c.output()) == i+2 })
	}
	c.pass()
}

// TestChurn: threads and vfork children that come and go during the freeze.
func TestChurn(t *testing.T) {
	for _, kind := range []string{"threads", "vfork"} {
		t.Run(kind, func(t *testing.T) {
			c := begin(t, exec.Command(compile(t, "churn"), kind))
			for range rounds() {
				c.must(inside(c.pid, func(p *Process, r *Remote) error { return callAll(p, r, 1) }))
			}
			c.await("no thread is stopped", func() bool {
				now, err := traces(c.pid)
				return err == nil && !strings.Contains(strings.Join(now.Maps, "\n"), "10000000-10004000")
			})
			c.pass()
		})
	}
}

// TestRestartableSequences: a thread that is stopped inside one does not finish it.
func TestRestartableSequences(t *testing.T) {
	c := begin(t, exec.Command(compile(t, "rseqs")))
	for range 4 * rounds() {
		c.must(inside(c.pid, func(p *Process, r *Remote) error { return callAll(p, r, 1) }))
	}
	c.pass()
	t.Log(c.output()[1:])
}

// TestFreezeOfEnding: a process that ends at any moment gives ErrTaskGone, or was
// frozen before; nobody waits for what will not come, and its parent sees its end.
func TestFreezeOfEnding(t *testing.T) {
	const patience = 3 * time.Second
	gone := 0
	for i := range 4 * rounds() {
		c := begin(t, exec.Command(compile(t, "busy")))
		began := time.Now()
		end := time.AfterFunc(time.Duration(i%20)*200*time.Microsecond, func() { _ = unix.Kill(c.pid, unix.SIGKILL) })
		done := make(chan error, 1)
		go func() {
			done <- inside(c.pid, func(p *Process, r *Remote) error {
				for range 20 {
					if err := callAll(p, r, 1); err != nil {
						return err
					}
				}
				return nil
			})
		}()
		select {
		case err := <-done:
			if errors.Is(err, ErrTaskGone) {
				gone++
			} else if err != nil {
				t.Fatalf("round %d: after %v: %v", i, time.Since(began), err)
			}
		case <-time.After(patience):
			t.Fatalf("round %d: the tracer still waits for a program that was killed", i)
		}
		end.Stop()
		_ = unix.Kill(c.pid, unix.SIGKILL) // it may have ended
		eventually(t, "its end is seen by the parent", c.over)
	}
	t.Logf("%d of %d ended meanwhile", gone, 4*rounds())
	if _, err := Freeze(1<<22+1, nil); !errors.Is(err, ErrTaskGone) {
		t.Errorf("a process that is not there: %v, want ErrTaskGone", err)
	}
}

// TestPendingInterrupted: the queue of signals is read to its end, however many
// signals the reader itself gets meanwhile. The kernel stops early for them.
func TestPendingInterrupted(t *testing.T) {
	const queued = 300
	c := begin(t, exec.Command(compile(t, "storm")))
	c.must(inside(c.pid, func(p *Process, _ *Remote) error {
		for i := range queued {
			if err := queue(c.pid, 36, i); err != nil {
				return err
			}
		}
		reader, done := unix.Gettid(), make(chan struct{})
		defer func() { <-done }()
		var stop atomic.Bool
		defer stop.Store(true)
		go func() {
			defer close(done)
			for !stop.Load() {
				_ = unix.Tgkill(os.Getpid(), reader, unix.SIGURG) // cannot fail: the reader waits for done
			}
		}()
		for range 2 * rounds() {
			got, err := p.Leader().Pending(true)
			if err != nil {
				return err
			}
			if len(got) != queued {
				return fmt.Errorf("%d pending signals, want %d", len(got), queued)
			}
		}
		return nil
	}))
	c.pass()
}
