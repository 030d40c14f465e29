package doctor

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// ProbeCommand is the hidden command that runs a probe.
const ProbeCommand = "doctor-probe"

// probeTimeNamespace is the probe that must run on the main thread: the kernel
// shows a process the time namespace of its first thread.
const probeTimeNamespace = "time-namespace"

func init() {
	if len(os.Args) > 2 && os.Args[1] == ProbeCommand && os.Args[2] == probeTimeNamespace {
		runtime.LockOSThread() // init runs on the main thread, and main stays there
	}
}

// Probe runs the probe args[0] and prints its result, a line, to out.
func Probe(out io.Writer, args []string) error {
	if len(args) == 0 {
		return errors.New("probe without a name")
	}
	var line string
	var err error
	switch args[0] {
	case "wait":
		if _, err := fmt.Fprintln(out, "ready"); err != nil {
			return err
		}
		_, err := io.Copy(io.Discard, os.Stdin)
		return err
	case "seize":
		if len(args) != 2 {
			return errors.New("probe seize needs a pid")
		}
		var pid int
		if pid, err = strconv.Atoi(args[1]); err == nil {
			err = onThread(func() error { return unix.PtraceSeize(pid) })
		}
	case "burn":
		line, err = burn()
	case "pid-namespace":
		line, err = insideNamespace()
	case probeTimeNamespace:
		err = insideTimeNamespace()
	default:
		return fmt.Errorf("unknown probe %q", args[0])
	}
	if err != nil {
		line = "error: " + err.Error()
	}
	_, err = fmt.Fprintln(out, line)
	return err
}

// probe is a running probe.
type probe struct {
	cmd   *exec.Cmd
	input io.Closer // closing it lets a "wait" probe end
	lines *bufio.Reader
}

// start starts a probe and reads its first line.
func start(ctx context.Context, attr *syscall.SysProcAttr, args ...string) (*probe, string, error) {
	cmd := exec.CommandContext(ctx, "/proc/self/exe", append([]string{ProbeCommand}, args...)...)
	cmd.Args[0] = os.Args[0]
	cmd.SysProcAttr = attr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, "", err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, "", err
	}
	if err := cmd.Start(); err != nil {
		return nil, "", err
	}
	p := &probe{cmd, in, bufio.NewReader(out)}
	line, err := p.lines.ReadString('\n')
	if err != nil {
		p.close()
		return nil, "", fmt.Errorf("probe %s: no answer: %w", args[0], err)
	}
	return p, strings.TrimSpace(line), nil
}

// pid is the probe's process id.
func (p *probe) pid() int { return p.cmd.Process.Pid }

// close ends the probe.
func (p *probe) close() {
	_ = p.input.Close()
	_ = p.cmd.Process.Kill() // it may have ended by itself
	_ = p.cmd.Wait()
}

// ask runs a probe to its end and returns its line.
func ask(ctx context.Context, attr *syscall.SysProcAttr, args ...string) (string, error) {
	p, line, err := start(ctx, attr, args...)
	if err != nil {
		return "", err
	}
	p.close()
	if msg, ok := strings.CutPrefix(line, "error: "); ok {
		return "", errors.New(msg)
	}
	return line, nil
}

// onThread runs fn on a thread of its own, which ends with it: what fn has
// attached is detached then.
func onThread(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		done <- fn()
	}()
	return <-done
}
