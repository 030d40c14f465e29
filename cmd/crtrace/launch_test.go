package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

const limit = 20 * time.Second

// eventually waits until ok holds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(limit); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatal("waited in vain: " + what)
		}
	}
}

// runtimeDir points crtrace to a directory of the test's own.
func runtimeDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "rt")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	t.Setenv("XDG_RUNTIME_DIR", dir)
	return filepath.Join(dir, "crtrace")
}

// TestLaunchIsInvisible: what a program can see of its surroundings is the same
// with and without crtrace.
func TestLaunchIsInvisible(t *testing.T) {
	crtrace := build(t)
	runtimeDir(t)
	extra, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer extra.Close()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		before  string // shell code of the caller; it ends in the prefix of the command
		command string
	}{
		"signals":               {"exec", "grep ^Sig[IBC] /proc/self/status"},
		"ignored signals":       {"trap '' HUP INT QUIT USR1 PIPE TERM CHLD TSTP TTOU XFSZ; exec", "grep ^Sig[IBC] /proc/self/status"},
		"nohup":                 {"exec nohup", "grep ^SigI /proc/self/status"},
		"blocked signals":       {"exec " + self + " exec-blocked", "/bin/grep ^Sig[IBC] /proc/self/status"},
		"limits":                {"ulimit -S -n 77; ulimit -S -c 0; exec", "cat /proc/self/limits"},
		"directory":             {"cd /usr/lib; exec", "/bin/pwd"},
		"umask":                 {"umask 027; exec", "grep Umask /proc/self/status"},
		"environment":           {"exec env -i A=1 B= PATH=/bin:/usr/bin XDG_RUNTIME_DIR=$XDG_RUNTIME_DIR", "cat /proc/self/environ"},
		"descriptors":           {"exec", "/bin/sh -c 'cd /proc/self/fd && echo *'"},
		"name of program":       {"exec", "sh -c 'echo $0'"},
		"group and session":     {"exec", "cut -d' ' -f5-8 /proc/self/stat"},
		"no tracer":             {"exec", "grep -E TracerPid|NoNewPrivs|Seccomp /proc/self/status"},
		"standard input":        {"echo text |", "cat"},
		"script without #!":     {"exec", filepath.Join(writeScript(t), "script") + " a b"},
		"a flag of its own":     {"exec", "echo --help -v"},
		"exec by full path":     {"exec", "/bin/echo x"},
		"stdout and stderr":     {"exec 2>&1;", "sh -c 'echo a; echo b >&2'"},
		"timer slack, niceness": {"exec nice -n 5", "cut -d' ' -f18,19 /proc/self/stat"},
	} {
		t.Run(name, func(t *testing.T) {
			run := func(prefix string) string {
				quoted := strings.ReplaceAll(tc.command, "TracerPid|NoNewPrivs|Seccomp", "'TracerPid|NoNewPrivs|Seccomp'")
				cmd := exec.Command("/bin/sh", "-c", tc.before+" "+prefix+quoted)
				cmd.ExtraFiles = []*os.File{extra}
				out, err := cmd.CombinedOutput()
				if err != nil {
					t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
				}
				if len(bytes.TrimSpace(out)) == 0 {
					t.Fatalf("%v prints nothing", cmd.Args)
				}
				return string(out)
			}
			plain, launched := run(""), run(crtrace+" launch ")
			if name == "group and session" { // the group is that of each caller
				plain, launched = tail(plain), tail(launched)
			}
			if diff := cmp.Diff(plain, launched); diff != "" {
				t.Errorf("without and with crtrace:\n%s", diff)
			}
		})
	}
}

// tail drops the first word.
func tail(s string) string {
	_, rest, _ := strings.Cut(s, " ")
	return rest
}

// writeScript makes a directory with a shell script that names no interpreter.
func writeScript(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "script"), []byte("echo \"$@\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestLaunchStatus(t *testing.T) {
	crtrace := build(t)
	sockets := runtimeDir(t)
	for command, want := range map[string]int{
		"true": 0, "sh -c exit\t7": 7, "sh -c exit\t255": 255,
		"sh -c kill\t-TERM\t$$": 128 + 15, "sh -c kill\t-KILL\t$$": 128 + 9, "sh -c kill\t-SEGV\t$$": 128 + 11,
		"/etc/passwd": 126, "/usr": 126, "/nonexistent/x": 127, "no-such-program": 127, "--no-such-flag": 125,
	} {
		args := strings.Fields(command)
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], "\t", " ")
		}
		if strings.Contains(command, "\t") {
			args = []string{"sh", "-c", strings.ReplaceAll(strings.TrimPrefix(command, "sh -c "), "\t", " ")}
		}
		cmd := exec.Command(crtrace, append([]string{"launch"}, args...)...)
		cmd.Dir = t.TempDir()
		_ = cmd.Run() // the status says it
		if got := cmd.ProcessState.ExitCode(); got != want {
			t.Errorf("%q: status %d, want %d", args, got, want)
		}
		if left, _ := os.ReadDir(cmd.Dir); len(left) > 0 {
			t.Errorf("%q: left %v", args, left)
		}
	}
	if left, err := os.ReadDir(sockets); err != nil || len(left) > 0 {
		t.Errorf("sockets left behind: %v, %v", left, err)
	}
}

func TestLaunchRefusesAPlantedDirectory(t *testing.T) {
	crtrace := build(t)
	sockets := runtimeDir(t)
	if err := os.Symlink(t.TempDir(), sockets); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(crtrace, "launch", "echo", "ran").CombinedOutput()
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok || exit.ExitCode() != 125 || !strings.Contains(string(out), "symbolic link") || strings.Contains(string(out), "ran") {
		t.Errorf("%v: %s", err, out)
	}
}

// launched is a running crtrace with a shell as its program.
type launched struct {
	*exec.Cmd
	in    io.WriteCloser
	out   *os.File
	lines *bufio.Reader
}

// launch starts script under crtrace, in a process group of its own as a shell
// with job control does, and waits for its line "ready PID".
func launch(t *testing.T, script string) (l *launched, program int) {
	t.Helper()
	cmd := exec.Command(build(t), "launch", "sh", "-c", script)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	l = &launched{cmd, in, out.(*os.File), bufio.NewReader(out)}
	if _, err := fmt.Sscanf(l.line(t), "ready %d", &program); err != nil {
		t.Fatal(err)
	}
	return l, program
}

// line reads a line of the program.
func (l *launched) line(t *testing.T) string {
	t.Helper()
	if err := l.out.SetReadDeadline(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	line, err := l.lines.ReadString('\n')
	if err != nil {
		t.Fatalf("the program says no more: %v", err)
	}
	return strings.TrimSpace(line)
}

// end waits for crtrace and compares its status.
func (l *launched) end(t *testing.T, want int) {
	t.Helper()
	late := time.AfterFunc(limit, func() { _ = syscall.Kill(-l.Process.Pid, syscall.SIGKILL) })
	defer late.Stop()
	_ = l.Wait() // the status says it
	if got := l.ProcessState.ExitCode(); got != want {
		t.Errorf("status %d, want %d", got, want)
	}
}

// state is the state of a process as /proc shows it, with its parent.
func state(pid int) (letter string, ppid int) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", 0
	}
	_, _ = fmt.Sscanf(string(data[bytes.LastIndexByte(data, ')')+1:]), "%s %d", &letter, &ppid)
	return letter, ppid
}

func TestSignalsArePassedOn(t *testing.T) {
	runtimeDir(t)
	for _, sig := range []syscall.Signal{unix.SIGTERM, unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM, 40} {
		l, _ := launch(t, fmt.Sprintf("trap 'echo got; exit 42' %d; echo ready $$; while read x; do :; done", sig))
		// A shell that is just about to read sees the signal only after the next
		// one: send it until it is answered.
		stop := make(chan struct{})
		go func() {
			tick := time.NewTicker(50 * time.Millisecond)
			defer tick.Stop()
			for {
				_ = l.Process.Signal(sig) // it may have ended
				select {
				case <-stop:
					return
				case <-tick.C:
				}
			}
		}()
		if got := l.line(t); got != "got" {
			t.Errorf("%v: the program says %q", sig, got)
		}
		close(stop)
		l.end(t, 42)
	}
}

// TestJobControl: the supervisor stops when its program does, and continues it.
func TestJobControl(t *testing.T) {
	runtimeDir(t)
	l, program := launch(t, "echo ready $$; kill -STOP $$; echo continued; exit 3")
	var status unix.WaitStatus
	if _, err := unix.Wait4(l.Process.Pid, &status, unix.WUNTRACED, nil); err != nil || !status.Stopped() {
		t.Fatalf("the supervisor has not stopped: %#x, %v", status, err)
	}
	if letter, _ := state(program); letter != "T" {
		t.Errorf("the program is in state %s, want T", letter)
	}
	if err := l.Process.Signal(syscall.SIGCONT); err != nil { // to the supervisor alone
		t.Fatal(err)
	}
	if got := l.line(t); got != "continued" {
		t.Errorf("the program says %q", got)
	}
	l.end(t, 3)
}

func TestOrphansAreReaped(t *testing.T) {
	runtimeDir(t)
	l, program := launch(t, "exec 3<&0; echo ready $$; sh -c 'sh -c \"echo \\$\\$; read x <&3\" & exit 0'; exec cat")
	var orphan int
	if _, err := fmt.Sscan(l.line(t), &orphan); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the orphan comes to the supervisor", func() bool {
		_, ppid := state(orphan)
		return ppid == l.Process.Pid
	})
	if err := syscall.Kill(orphan, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the orphan is reaped", func() bool {
		letter, _ := state(orphan)
		return letter == ""
	})
	if letter, _ := state(program); letter == "" {
		t.Error("the program is gone too")
	}
	_ = l.in.Close()
	l.end(t, 0)
}

func TestStaysUntilTheProgramEnds(t *testing.T) {
	sockets := runtimeDir(t)
	l, program := launch(t, "echo ready $$; read x; exit 5")
	names, err := os.ReadDir(sockets)
	if err != nil || len(names) != 1 || names[0].Name() != fmt.Sprintf("%d.sock", program) {
		t.Errorf("sockets %v, %v; want that of %d", names, err, program)
	}
	if _, ppid := state(program); ppid != l.Process.Pid {
		t.Errorf("parent %d, want the supervisor %d", ppid, l.Process.Pid)
	}
	_ = l.in.Close()
	l.end(t, 5)
}
