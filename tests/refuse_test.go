package tests

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/crtrace/crtrace/tests/internal/victims"
)

// otherUID is a user that owns nothing here.
const otherUID = 65534

// refused checks the form of a refusal: the documented status, and a text that
// says something about what it was.
func refused(t *testing.T, status int, stderr string, want []int, mentions ...string) {
	t.Helper()
	if !slices.Contains(want, status) {
		t.Errorf("status %d, want one of %v", status, want)
	}
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	if !strings.HasPrefix(lines[0], "crtrace: ") || status != 3 && len(lines) > 2 || strings.Contains(stderr, "goroutine ") {
		t.Errorf("stderr is not a clear line:\n%s", stderr)
	}
	for _, m := range mentions {
		if !strings.Contains(stderr, m) {
			t.Errorf("stderr does not mention %q:\n%s", m, stderr)
		}
	}
	t.Logf("status %d: %s", status, strings.TrimSpace(stderr))
}

// unharmed checks that the program runs on, in order.
func (p *program) unharmed() {
	p.t.Helper()
	if !runs(p.pid) {
		p.t.Fatalf("the program is in state %q, traced by %s", statusField(p.pid, "State"), statusField(p.pid, "TracerPid"))
	}
	p.awaitSteps(5)
	p.finish()
}

// refuseCheckpoint asks for a checkpoint that must be refused without a trace.
func refuseCheckpoint(t *testing.T, pid string, want []int, mentions ...string) {
	t.Helper()
	dir := t.TempDir()
	status, stdout, stderr := run(t, "checkpoint", "--pid", pid, "-o", filepath.Join(dir, "image"))
	refused(t, status, stderr, want, mentions...)
	if stdout != "" {
		t.Errorf("stdout is %q", stdout)
	}
	emptyDir(t, dir)
}

func emptyDir(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 0 {
		t.Errorf("left behind in the image's directory: %v (%v)", entries, err)
	}
}

// TestRefuseTarget: processes that can't be checkpointed.
func TestRefuseTarget(t *testing.T) {
	t.Run("no such process", func(t *testing.T) {
		cmd := exec.Command("/bin/true")
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
		pid := strconv.Itoa(cmd.Process.Pid)
		refuseCheckpoint(t, pid, []int{6}, pid)
	})
	t.Run("zombie", func(t *testing.T) {
		cmd := exec.Command("/bin/true")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it is a zombie", func() bool { return strings.HasPrefix(statusField(cmd.Process.Pid, "State"), "Z") })
		pid := strconv.Itoa(cmd.Process.Pid)
		refuseCheckpoint(t, pid, []int{6}, pid)
		_ = cmd.Wait() // its status does not matter
	})
	t.Run("thread", func(t *testing.T) {
		p := start(t, victim(t, "threads16"), startOptions{})
		tasks, err := filepath.Glob("/proc/" + strconv.Itoa(p.pid) + "/task/*")
		if err != nil || len(tasks) < 2 {
			t.Fatal(tasks, err)
		}
		tid := filepath.Base(tasks[1])
		refuseCheckpoint(t, tid, []int{1, 2, 6}, tid, strconv.Itoa(p.pid))
		p.unharmed()
	})
	t.Run("traced", refuseTraced)
	t.Run("another user", refuseOtherUser)
	t.Run("process 1", func(t *testing.T) {
		dir := t.TempDir()
		cmd := exec.Command(crtraceBinary, "checkpoint", "--pid", "1", "-o", filepath.Join(dir, "image"))
		if os.Geteuid() == 0 {
			cmd = asOther(t, dir, "checkpoint", "--pid", "1", "-o", filepath.Join(dir, "image"))
		}
		status, _, stderr := runCommand(t, cmd)
		refused(t, status, stderr, []int{2, 5}, "1")
		emptyDir(t, dir)
	})
}

// refuseTraced: a program under a debugger.
func refuseTraced(t *testing.T) {
	runtime.LockOSThread() // the tracer of the child is this thread
	defer runtime.UnlockOSThread()
	cmd := exec.Command("/bin/cat")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var ws syscall.WaitStatus
	if _, err := syscall.Wait4(cmd.Process.Pid, &ws, 0, nil); err != nil || !ws.Stopped() {
		t.Fatal(ws, err)
	}
	if err := syscall.PtraceCont(cmd.Process.Pid, 0); err != nil {
		t.Fatal(err)
	}
	pid := strconv.Itoa(cmd.Process.Pid)
	refuseCheckpoint(t, pid, []int{5}, pid, "traced")
	if err := stdin.Close(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the traced program was harmed: %v", err)
	}
}

// asOther makes a command of crtrace that runs as another user; root only.
func asOther(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	if os.Geteuid() != 0 {
		skip(t, needSecondUser, "")
	}
	for d := dir; strings.HasPrefix(d, os.TempDir()+"/"); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(dir, otherUID, otherUID); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(crtraceBinary, args...)
	cmd.Env = []string{"PATH=/bin:/usr/bin", "HOME=/nonexistent"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: otherUID, Gid: otherUID}}
	return cmd
}

func refuseOtherUser(t *testing.T) {
	dir := t.TempDir()
	p := start(t, victim(t, "counter"), startOptions{})
	pid := strconv.Itoa(p.pid)
	status, _, stderr := runCommand(t, asOther(t, dir, "checkpoint", "--pid", pid, "-o", filepath.Join(dir, "image")))
	refused(t, status, stderr, []int{5}, pid)
	emptyDir(t, dir)
	p.unharmed()
}

// TestRefuseDirectory: places where no image can be made.
func TestRefuseDirectory(t *testing.T) {
	p := start(t, victim(t, "counter"), startOptions{})
	pid := strconv.Itoa(p.pid)
	dir := t.TempDir()
	full := filepath.Join(dir, "there")
	if err := os.MkdirAll(filepath.Join(full, "something"), 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, image := range map[string]string{
		"exists":          full,
		"is a file":       file,
		"below a file":    filepath.Join(file, "image"),
		"no parent":       filepath.Join(dir, "missing", "image"),
		"read-only place": "/proc/crtrace-image",
	} {
		t.Run(name, func(t *testing.T) {
			status, stdout, stderr := run(t, "checkpoint", "--pid", pid, "-o", image)
			refused(t, status, stderr, []int{1, 5}, image)
			if stdout != "" {
				t.Errorf("stdout is %q", stdout)
			}
		})
	}
	var left []string
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		left = append(left, e.Name())
	}
	if diff := cmp.Diff([]string{"file", "there"}, left); err != nil || diff != "" {
		t.Errorf("the directory changed: %s %v", diff, err)
	}
	p.unharmed()
}

// TestRefuseObjects: state that can't be brought back. The refusal comes before
// the program is touched.
func TestRefuseObjects(t *testing.T) {
	kinds := map[string][]string{
		"io_uring": nil, "userfaultfd": nil, "perf": nil, "tcp": echo(t), "messages": nil, "notification": nil,
		"flying-pidfd": nil, "flying-lock": nil,
		"segment": {attachedSegment(t)}, "semaphores": {usedSemaphores(t)},
	}
	for kind, args := range kinds {
		t.Run(kind, func(t *testing.T) {
			p := start(t, victims.Refused, startOptions{args: append([]string{kind}, args...)})
			pid := strconv.Itoa(p.pid)
			refuseCheckpoint(t, pid, []int{3}, pid)
			p.unharmed()
		})
	}
}

// attachedSegment makes System V shared memory that this process has attached.
func attachedSegment(t *testing.T) string {
	t.Helper()
	id, err := unix.SysvShmGet(unix.IPC_PRIVATE, 4096, 0o600)
	if errors.Is(err, unix.ENOSYS) {
		skip(t, needKernel, "System V shared memory")
	}
	if err != nil {
		t.Fatal(err)
	}
	mem, err := unix.SysvShmAttach(id, 0, 0)
	if _, rmErr := unix.SysvShmCtl(id, unix.IPC_RMID, nil); err != nil || rmErr != nil {
		t.Fatal(err, rmErr)
	}
	t.Cleanup(func() { _ = unix.SysvShmDetach(mem) })
	return strconv.Itoa(id)
}

// usedSemaphores makes two semaphores, the second of which this process has used.
func usedSemaphores(t *testing.T) string {
	t.Helper()
	id, _, errno := unix.Syscall(unix.SYS_SEMGET, unix.IPC_PRIVATE, 2, 0o600)
	if errno != 0 {
		skip(t, needKernel, "System V semaphores")
	}
	const setValue = 16 // SETVAL
	if _, _, errno := unix.Syscall6(unix.SYS_SEMCTL, id, 1, setValue, 5, 0, 0); errno != 0 {
		t.Fatal(errno)
	}
	t.Cleanup(func() { _, _, _ = unix.Syscall(unix.SYS_SEMCTL, id, 0, unix.IPC_RMID) })
	return strconv.Itoa(int(id))
}

// echo serves one TCP port outside every program under test.
func echo(t *testing.T) []string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // closed at the end of the test
			}
			go func() {
				defer conn.Close()
				buf := make([]byte, 16)
				for {
					n, err := conn.Read(buf)
					if err != nil {
						return
					}
					if _, err := conn.Write(buf[:n]); err != nil {
						return
					}
				}
			}()
		}
	}()
	host, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return []string{host, port}
}

// TestRefuseArguments: command lines that make no sense.
func TestRefuseArguments(t *testing.T) {
	for name, args := range map[string][]string{
		"no pid":          {"checkpoint"},
		"pid 0":           {"checkpoint", "--pid", "0"},
		"negative pid":    {"checkpoint", "--pid", "-5"},
		"pid is text":     {"checkpoint", "--pid", "abc"},
		"stray argument":  {"checkpoint", "--pid", "1", "extra"},
		"unknown flag":    {"checkpoint", "--frobnicate"},
		"unknown command": {"frobnicate"},
		"no image":        {"restore"},
		"two images":      {"restore", "a", "b"},
		"unknown mode":    {"restore", "--pids=some", "a"},
		"verify nothing":  {"verify"},
		"inspect nothing": {"inspect"},
	} {
		t.Run(name, func(t *testing.T) {
			status, stdout, stderr := run(t, args...)
			refused(t, status, stderr, []int{2})
			if stdout != "" {
				t.Errorf("stdout is %q", stdout)
			}
		})
	}
}
