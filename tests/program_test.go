package tests

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crtrace/crtrace/tests/internal/victims"
)

// A program is a victim through all its lives.
type program struct {
	t      *testing.T
	victim victims.Victim
	dir    string // where it runs; its output is the file "out" there
	images string // where its images go
	pid    int
	slack  int      // milliseconds that its waits may be longer than asked
	wrap   []string // words before launch and restore
	tty    *pty     // standard input of launch and restore
	parent *parent
}

// A parent is the process that stands for the program: launch, restore, or the
// program itself when it was started without launch.
type parent struct {
	cmd    *exec.Cmd
	stderr *bytes.Buffer
	ended  chan struct{} // closed when cmd.Wait has returned
	err    error         // what it returned; read after ended
}

// started begins a process and collects its end.
func started(t *testing.T, cmd *exec.Cmd) *parent {
	t.Helper()
	p := &parent{cmd: cmd, stderr: &bytes.Buffer{}, ended: make(chan struct{})}
	if cmd.Stderr == nil {
		cmd.Stderr = p.stderr
	}
	// Only killed or restored programs may hold the pipe of stderr open.
	cmd.WaitDelay = waitLimit
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = cmd.Wait()
		close(p.ended)
	}()
	return p
}

// status waits for the end and returns the exit status, 128+N for signal N.
func (p *parent) status(t *testing.T) int {
	t.Helper()
	eventually(t, strings.Join(p.cmd.Args[:2], " ")+" ends", func() bool {
		select {
		case <-p.ended:
			return true
		default:
			return false
		}
	})
	ws := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return ws.ExitStatus()
}

// startOptions say how a victim is started.
type startOptions struct {
	direct bool // without launch
	append bool // its output file is opened with O_APPEND
	args   []string
	binary string   // instead of the compiled victim
	tty    *pty     // standard input and controlling terminal; nil: none
	before []string // arguments before the victim's own
	wrap   []string // words before the command, such as "nice"; also before restore
}

// start runs a victim until it is ready and has done a few steps.
func start(t *testing.T, v victims.Victim, o startOptions) *program {
	t.Helper()
	p := &program{t: t, victim: v, dir: t.TempDir(), images: t.TempDir(), slack: 30000, wrap: o.wrap, tty: o.tty}
	binary := o.binary
	if binary == "" {
		binary = build(t, v)
	}
	args := slices.Concat(o.before, []string{p.stopfile(), strconv.Itoa(1 << 30), strconv.Itoa(p.slack), "0"}, v.Args, o.args)
	cmd := exec.Command(crtraceBinary, append([]string{"launch", binary}, args...)...)
	if o.direct {
		cmd = exec.Command(binary, args...)
	}
	cmd = p.wrapped(cmd)
	flags := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if o.append {
		flags |= os.O_APPEND
	}
	out, err := os.OpenFile(p.path("out"), flags, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	errFile, err := os.Create(p.path("err"))
	if err != nil {
		t.Fatal(err)
	}
	defer errFile.Close()
	cmd.Dir, cmd.Stdout, cmd.Stderr = p.dir, out, errFile
	p.parent = started(t, cmd)
	t.Cleanup(p.cleanUp)
	p.awaitReady()
	p.awaitSteps(5)
	return p
}

// wrapped gives a command the words before it and the terminal.
func (p *program) wrapped(cmd *exec.Cmd) *exec.Cmd {
	if len(p.wrap) > 0 {
		cmd = exec.Command(p.wrap[0], append(slices.Clone(p.wrap[1:]), cmd.Args...)...)
	}
	if p.tty != nil {
		p.tty.on(cmd)
	}
	return cmd
}

func (p *program) path(name string) string      { return filepath.Join(p.dir, name) }
func (p *program) stopfile() string             { return p.path("stop") }
func (p *program) imagePath(name string) string { return filepath.Join(p.images, name) }

// cleanUp ends what a failed test has left.
func (p *program) cleanUp() {
	if p.pid > 0 && p.owned() {
		_ = syscall.Kill(p.pid, syscall.SIGKILL) // may be gone
	}
	for _, pid := range descendants(p.parent.cmd.Process.Pid) {
		_ = syscall.Kill(pid, syscall.SIGKILL) // may be gone
	}
	_ = p.parent.cmd.Process.Kill() // may be gone
	<-p.parent.ended
}

// owned says whether p.pid still is our program and not a stranger that got the
// number: only ours has the stop file among its arguments.
func (p *program) owned() bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.pid))
	return err == nil && bytes.Contains(text, []byte(p.stopfile()))
}

func (p *program) lines() []string {
	text, err := os.ReadFile(p.path("out"))
	if err != nil {
		p.t.Fatal(err)
	}
	return slices.Collect(strings.Lines(string(text)))
}

// awaitReady reads the pid that the victim reports.
func (p *program) awaitReady() {
	p.t.Helper()
	p.await("ready", func() bool {
		for _, line := range p.lines() {
			if n, err := fmt.Sscanf(line, "ready %d\n", &p.pid); n == 1 && err == nil {
				return true
			}
		}
		return false
	})
}

// lastStep returns the highest finished step.
func (p *program) lastStep() int {
	last := 0
	for _, line := range p.lines() {
		var n int
		if k, err := fmt.Sscanf(line, "step %d\n", &n); k == 1 && err == nil {
			last = n
		}
	}
	return last
}

// await waits for a condition, and fails at once when the victim or its parent
// has come to an end.
func (p *program) await(what string, condition func() bool) {
	p.t.Helper()
	eventually(p.t, what, func() bool {
		if condition() {
			return true
		}
		select {
		case <-p.parent.ended:
			if condition() {
				return true
			}
			p.endedEarly(what)
		default:
		}
		return false
	})
}

func (p *program) endedEarly(what string) {
	p.t.Helper()
	status := p.parent.status(p.t)
	last := ""
	if lines := p.lines(); len(lines) > 0 {
		last = lines[len(lines)-1]
	}
	if status == 77 && strings.HasPrefix(last, "UNSUPPORTED") {
		skip(p.t, needKernel, strings.TrimSpace(last))
	}
	errText, _ := os.ReadFile(p.path("err")) // best effort
	p.t.Fatalf("waiting for %s: ended with status %d\nlast line: %sstderr: %s%s", what, status, last, errText, p.parent.stderr)
}

// awaitSteps waits until the victim has done n more steps than now.
func (p *program) awaitSteps(n int) {
	p.t.Helper()
	from := p.lastStep()
	p.await(fmt.Sprintf("step %d", from+n), func() bool { return p.lastStep() >= from+n })
}

// commandLimit bounds a command that does not stand for a program.
const commandLimit = 20 * time.Second

// run runs crtrace to its end.
func run(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	return runCommand(t, exec.Command(crtraceBinary, args...))
}

func runCommand(t *testing.T, cmd *exec.Cmd) (status int, stdout, stderr string) {
	t.Helper()
	var out, errText bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &errText, waitLimit
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// A restore that wrongly succeeds stands for the program: it passes SIGTERM on.
	late := time.AfterFunc(commandLimit, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	tooLate := time.AfterFunc(2*commandLimit, func() { _ = cmd.Process.Kill() })
	err := cmd.Wait()
	tooLate.Stop()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if !late.Stop() {
		t.Fatalf("%s did not end within %v", strings.Join(cmd.Args[1:], " "), commandLimit)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errText.String()
}

// checkpoint takes an image and checks that the running program shows no trace of it.
func (p *program) checkpoint(name string, flags ...string) string {
	p.t.Helper()
	dir := p.imagePath(name)
	before := look(p.t, p.pid)
	args := append([]string{"checkpoint", "--quiet", "--pid", strconv.Itoa(p.pid), "-o", dir}, flags...)
	status, stdout, stderr := run(p.t, args...)
	if status != 0 || stdout != dir+"\n" {
		p.t.Fatalf("checkpoint: status %d, stdout %q, stderr:\n%s", status, stdout, stderr)
	}
	if slices.Contains(flags, "--kill") {
		return dir
	}
	if !runs(p.pid) {
		p.await("the program is there after the checkpoint", func() bool { return alive(p.pid) })
		p.t.Fatalf("after the checkpoint the program is in state %q, traced by %s", statusField(p.pid, "State"), statusField(p.pid, "TracerPid"))
	}
	after := look(p.t, p.pid)
	if diff := cmp.Diff(before.stableDescriptors(), after.stableDescriptors()); diff != "" {
		p.t.Fatalf("the checkpoint changed the descriptors (-before +after):\n%s", diff)
	}
	before.Descriptors, after.Descriptors = nil, nil
	if p.victim.Compiler == victims.Go { // its runtime makes threads whenever it likes
		before.Threads, after.Threads = 0, 0
	}
	if diff := cmp.Diff(before, after); diff != "" {
		p.t.Fatalf("the checkpoint left a trace (-before +after):\n%s", diff)
	}
	return dir
}

// kill ends the program, all of its processes, with SIGKILL and waits until
// nothing is left of it.
func (p *program) kill() {
	p.t.Helper()
	others := descendants(p.parent.cmd.Process.Pid)
	if err := syscall.Kill(p.pid, syscall.SIGKILL); err != nil {
		p.t.Fatal(err)
	}
	for _, pid := range others {
		_ = syscall.Kill(pid, syscall.SIGKILL) // may be gone
	}
	p.awaitKilled()
	for _, pid := range others {
		eventually(p.t, fmt.Sprintf("process %d is gone", pid), func() bool { return !alive(pid) })
	}
}

func (p *program) awaitKilled() {
	p.t.Helper()
	if got := p.parent.status(p.t); got != 128+9 {
		p.t.Fatalf("the parent of the killed program ended with status %d: %s", got, p.parent.stderr)
	}
	if alive(p.pid) {
		p.t.Fatalf("process %d is still there", p.pid)
	}
}

// restore brings the program back in the foreground and waits until it has gone
// further than it ever was.
func (p *program) restore(image string, flags ...string) {
	p.t.Helper()
	reached := p.lastStep()
	p.restoreOnly(image, flags...)
	p.await("the restored program goes on", func() bool { return p.lastStep() > reached })
	if slices.Contains(flags, "--pids=host") && !runs(p.pid) {
		p.t.Fatalf("process %d does not run after the restore", p.pid)
	}
}

// restoreOnly starts the restore.
func (p *program) restoreOnly(image string, flags ...string) {
	cmd := p.wrapped(exec.Command(crtraceBinary, append(append([]string{"restore", "--quiet"}, flags...), image)...))
	cmd.Dir = p.images
	p.parent = started(p.t, cmd)
}

// finish lets the program end and checks its status and whole output.
func (p *program) finish() {
	p.t.Helper()
	if err := os.WriteFile(p.stopfile(), nil, 0o600); err != nil {
		p.t.Fatal(err)
	}
	if got := p.parent.status(p.t); got != 0 {
		lines := p.lines()
		p.t.Fatalf("the program ended with status %d\nlast line: %sstderr: %s", got, lines[len(lines)-1], p.parent.stderr)
	}
	if err := checkOutput(p.lines()); err != nil {
		p.t.Fatal(err)
	}
}

// checkOutput says what is wrong with the output of a victim as a whole.
func checkOutput(lines []string) error {
	next := 0 // the number of the step that must come
	for i, line := range lines {
		var n int
		switch {
		case next == 0 && strings.HasPrefix(line, "ready "):
			next = 1
		case strings.HasPrefix(line, "step "):
			if _, err := fmt.Sscanf(line, "step %d\n", &n); err != nil || n != next || next == 0 {
				return fmt.Errorf("line %d is %q, want step %d", i+1, line, next)
			}
			next++
		case line == "PASS\n" && i == len(lines)-1 && next > 0:
			return nil
		case next > 0 && (strings.HasPrefix(line, "slept ") || line == "stopping\n" || line == "continued\n"):
		case strings.HasPrefix(line, "slept "):
		default:
			return fmt.Errorf("line %d is %q", i+1, line)
		}
	}
	return errors.New("the output does not end with PASS")
}
