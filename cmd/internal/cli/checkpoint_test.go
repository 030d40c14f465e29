package cli

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/crtrace/crtrace/snapshot/capture"
	"github.com/crtrace/crtrace/tracer"
)

// victim is a process that does nothing until the test ends.
func victim(t *testing.T) string {
	t.Helper()
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	cmd := exec.Command("cat")
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return strconv.Itoa(cmd.Process.Pid)
}

func TestCheckpointPrintsTheDirectory(t *testing.T) {
	pid, dir := victim(t), filepath.Join(t.TempDir(), "image")
	a, out, errs := newApp()
	a.checkpoint = func(_ context.Context, _ int, o capture.Options) (*capture.Result, error) {
		return &capture.Result{Dir: o.Dir, Processes: 1, Threads: 3, Bytes: 4404019, Pause: 12 * time.Millisecond,
			Total: 31 * time.Millisecond, Warnings: []string{"odd\x1b"}}, nil
	}
	if code := a.main([]string{"checkpoint", "--pid", pid, "-o", dir}); code != 0 {
		t.Fatalf("status %d: %s", code, errs)
	}
	if got, want := out.String(), dir+"\n"; got != want {
		t.Errorf("stdout %q, want %q", got, want)
	}
	want := "crtrace: warning: odd\\x1b\n1 process, 3 threads, 4.2 MiB, paused 12 ms, took 31 ms\n"
	if got := errs.String(); got != want {
		t.Errorf("stderr %q, want %q", got, want)
	}
	errs.Reset()
	if code := a.main([]string{"checkpoint", "-q", "--pid", pid, "-o", dir}); code != 0 || errs.Len() > 0 {
		t.Errorf("with -q: status %d, stderr %q", code, errs)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if code := a.main([]string{"checkpoint", "--pid", pid, "-o", dir}); code != 1 {
		t.Errorf("existing directory: status %d, want 1", code)
	}
}

// TestInterruptRollsBack: a signal cancels the context; the status names it.
func TestInterruptRollsBack(t *testing.T) {
	for sig, want := range map[syscall.Signal]int{syscall.SIGINT: 130, syscall.SIGTERM: 143} {
		pid := victim(t)
		a, _, errs := newApp()
		a.checkpoint = func(ctx context.Context, _ int, _ capture.Options) (*capture.Result, error) {
			if err := syscall.Kill(os.Getpid(), sig); err != nil {
				return nil, err
			}
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-time.After(20 * time.Second):
				return nil, context.DeadlineExceeded
			}
		}
		if code := a.main([]string{"checkpoint", "--pid", pid, "-o", filepath.Join(t.TempDir(), "image")}); code != want {
			t.Errorf("%v: status %d, want %d: %s", sig, code, want, errs)
		}
	}
}

func TestCheckpointStatuses(t *testing.T) {
	pid := victim(t)
	for want, err := range map[int]error{
		3: &capture.UnsupportedError{}, 5: &tracer.PermissionError{Why: "no"}, 6: tracer.ErrTaskGone,
	} {
		a, out, errs := newApp()
		a.checkpoint = func(context.Context, int, capture.Options) (*capture.Result, error) { return nil, err }
		if code := a.main([]string{"checkpoint", "--pid", pid, "-o", filepath.Join(t.TempDir(), "image")}); code != want || out.Len() > 0 {
			t.Errorf("%v: status %d, want %d; stdout %q, stderr %q", err, code, want, out, errs)
		}
	}
}

func TestThreadIsNoProcess(t *testing.T) {
	tids, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range tids {
		if e.Name() == strconv.Itoa(os.Getpid()) {
			continue
		}
		a, _, errs := newApp()
		if code := a.main([]string{"checkpoint", "--pid", e.Name()}); code != 2 {
			t.Errorf("thread %s: status %d: %s", e.Name(), code, errs)
		}
		return
	}
}
