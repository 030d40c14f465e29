package supervisor

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/crtrace/crtrace/cmd/internal/exitcode"
	"github.com/crtrace/crtrace/cmd/internal/rundir"
	"github.com/crtrace/crtrace/tracer"
)

// Launch starts a program and stands for it until it ends. It returns the
// status to exit with. Errors carry the statuses 125 to 127 and mean that not
// one instruction of the program has run.
func (s *Supervisor) Launch(argv []string) (int, error) {
	path, err := lookup(argv[0])
	if err != nil {
		return 0, err
	}
	// What can fail should fail before there is a process.
	if _, err := rundir.Prepare(s.cfg.RuntimeDir); err != nil {
		return 0, exitcode.With(exitcode.Own, err)
	}
	if err := s.begin(path, argv); err != nil {
		return 0, err
	}
	status, err := s.run()
	return status, exitcode.With(exitcode.Own, err)
}

// begin starts the program and opens its socket while it stands at its first
// instruction.
func (s *Supervisor) begin(path string, argv []string) error {
	// The tracer is a thread: the one that starts the program must be the one
	// that lets it go. And it must live on: the program can ask to be told of
	// its parent's end, which is the end of that thread.
	return tracer.Keep(func() error { return s.startTraced(path, argv) })
}

// startTraced is begin on a locked thread.
func (s *Supervisor) startTraced(path string, argv []string) error {
	if err := blockInherited(); err != nil {
		return exitcode.With(exitcode.Own, err)
	}
	s.bequeathIgnored()
	pid, traced, err := start(path, argv)
	s.catchIgnored()
	if err != nil {
		return execError(path, err)
	}
	if !traced {
		return exitcode.With(exitcode.Own, s.listen(pid))
	}
	status, err := waitStop(pid)
	if err == nil && !status.Stopped() { // killed before its first instruction
		s.early = &status
		return nil
	}
	if err == nil {
		err = s.listen(pid)
	}
	if err == nil {
		err = detach(pid, status.StopSignal())
	}
	if err != nil {
		discard(pid)
		return exitcode.With(exitcode.Own, fmt.Errorf("launch %s: %w", argv[0], err))
	}
	return nil
}

// start creates the process. It has our standard streams, directory, group,
// session and terminal, the signal dispositions and mask that we have inherited,
// and every descriptor that was open to be inherited. Where tracing is not
// possible, or would take something from the program, it runs at once.
func start(path string, argv []string) (pid int, traced bool, err error) {
	attr := &syscall.ProcAttr{
		Env:   environment(),
		Files: []uintptr{0, 1, 2},
		Sys:   &syscall.SysProcAttr{Ptrace: !gainsPrivilege(path)},
	}
	pid, _, err = syscall.StartProcess(path, argv, attr)
	if attr.Sys.Ptrace && errors.Is(err, syscall.EPERM) { // somebody traces us, or a filter forbids it
		attr.Sys.Ptrace = false
		pid, _, err = syscall.StartProcess(path, argv, attr)
	}
	if errors.Is(err, syscall.ENOEXEC) { // a script without "#!": execvp's way
		if strings.HasPrefix(path, "-") {
			path = "./" + path
		}
		argv = append([]string{"sh", path}, argv[1:]...)
		pid, _, err = syscall.StartProcess("/bin/sh", argv, attr)
	}
	return pid, attr.Sys.Ptrace, err
}

// environment is the environment that we were started with, byte for byte:
// os.Environ drops repeated names.
func environment() []string {
	raw, err := os.ReadFile("/proc/self/environ")
	if err != nil {
		return os.Environ()
	}
	var env []string
	for entry := range bytes.SplitSeq(raw, []byte{0}) {
		if len(entry) > 0 {
			env = append(env, string(entry))
		}
	}
	return env
}

// waitStop waits for the stop at the first instruction.
func waitStop(pid int) (status unix.WaitStatus, err error) {
	for {
		_, err := unix.Wait4(pid, &status, unix.WALL, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		return status, os.NewSyscallError("wait4", err)
	}
}

// detach lets the program go. The SIGTRAP of the exec is swallowed, any other
// signal that has stopped it is delivered.
func detach(pid int, sig syscall.Signal) error {
	if sig == unix.SIGTRAP {
		sig = 0
	}
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_DETACH, uintptr(pid), 0, uintptr(sig), 0, 0)
	if errno != 0 && errno != unix.ESRCH { // killed meanwhile: run will see it
		return os.NewSyscallError("ptrace(PTRACE_DETACH)", errno)
	}
	return nil
}

// discard ends a program that has not run yet.
func discard(pid int) {
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		return
	}
	for {
		status, err := waitStop(pid)
		if err != nil || !status.Stopped() {
			return
		}
	}
}
