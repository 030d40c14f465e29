package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/term"

	"github.com/crtrace/crtrace/cmd/internal/exitcode"
	"github.com/crtrace/crtrace/cmd/internal/wire"
	"github.com/crtrace/crtrace/restore"
)

// detachReport is what a detached restore tells the command that started it:
// one of the two.
type detachReport struct {
	PID      int         `json:"pid,omitempty"` // of the program that runs now
	Warnings []string    `json:"warnings,omitempty"`
	Error    *wire.Error `json:"error,omitempty"`
}

// rollBackTime is how long an interrupted background restore may take to clean up.
const rollBackTime = 30 * time.Second

// detach starts this program again, in a session of its own, to restore and
// watch the image, and waits until the restored program runs.
func (a *app) detach(ctx context.Context, f restoreFlags, dir string) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	cmd, closeFiles, err := a.detachedCommand(f, dir, w)
	if err == nil {
		err = cmd.Start()
	}
	closeFiles()
	_ = w.Close() // the other process has it now
	if err != nil {
		return fmt.Errorf("start the background process: %w", err)
	}
	report, err := a.awaitReport(ctx, cmd, r)
	if err != nil {
		return err
	}
	for _, w := range report.Warnings {
		a.note("crtrace: warning: %s", printable(w))
	}
	_, err = fmt.Fprintln(a.out, report.PID)
	return errors.Join(err, cmd.Process.Release())
}

// awaitReport reads what the background process reports. When ctx is cancelled
// before, that process is asked to roll back and waited for.
func (a *app) awaitReport(ctx context.Context, cmd *exec.Cmd, r *os.File) (*detachReport, error) {
	stop := context.AfterFunc(ctx, func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = r.SetReadDeadline(time.Now().Add(rollBackTime))
	})
	defer stop()
	var report detachReport
	err := wire.Read(r, &report)
	switch {
	case err == nil && report.Error == nil && ctx.Err() == nil:
		return &report, nil
	case err == nil && report.Error == nil:
		// It ran before it heard of the interrupt: SIGTERM has gone to the program.
		_ = cmd.Process.Signal(syscall.SIGTERM)
		return nil, ctx.Err()
	}
	_ = cmd.Wait() // its status is in the report, if anywhere
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, fmt.Errorf("the background process ended without a report: %w", err)
	}
	return nil, report.Error
}

// detachedCommand is the command line of the background process. Standard
// streams that lead to files stay. Terminals become /dev/null, and so do pipes
// and sockets: whoever reads our output, as in PID=$(crtrace restore --detach
// DIR), would otherwise wait for the end of the program.
func (a *app) detachedCommand(f restoreFlags, dir string, report *os.File) (cmd *exec.Cmd, closeFiles func(), err error) {
	closeFiles = func() {}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, closeFiles, err
	}
	args := append([]string{"restore", "--pids", f.pids, "--report-fd", "3"}, a.passOn(f)...)
	cmd = exec.Command("/proc/self/exe", append(args, "--", abs)...)
	cmd.Args[0] = os.Args[0]
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.ExtraFiles = []*os.File{report}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, closeFiles, err
	}
	stream := func(f *os.File) *os.File {
		st, err := f.Stat()
		if err != nil || st.Mode()&(fs.ModeNamedPipe|fs.ModeSocket) != 0 || term.IsTerminal(int(f.Fd())) {
			return null
		}
		return f
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stream(os.Stdin), stream(os.Stdout), stream(os.Stderr)
	return cmd, func() { _ = null.Close() }, nil
}

// restoreDetached is the background process.
func (a *app) restoreDetached(ctx context.Context, f restoreFlags, dir string) error {
	if f.reportFD < 3 {
		return exitcode.Usagef("--report-fd %s: want a descriptor above 2", strconv.Itoa(f.reportFD))
	}
	nameProcess()
	syscall.CloseOnExec(f.reportFD) // not for the program
	pipe := os.NewFile(uintptr(f.reportFD), "report")
	reported := false
	err := a.restoreAndWatch(ctx, f, dir, func(tree *restore.Tree) error {
		reported = true
		return errors.Join(wire.Write(pipe, detachReport{PID: tree.Root, Warnings: tree.Warnings}), pipe.Close())
	})
	if reported || err == nil {
		return err
	}
	err = a.interrupted(err)
	report := detachReport{Error: &wire.Error{Kind: "failure", Message: explain(err), Problems: problems(err), Exit: exitcode.From(err)}}
	if wire.Write(pipe, report) == nil {
		return &exitcode.Error{Code: report.Error.Exit} // said to the one who asked
	}
	return err
}
