// Package cli is crtrace's command line.
//
// In a nutshell: [Main] builds the tree of commands, runs one of them, prints
// its error and returns the exit status. Results go to stdout, everything else
// to stderr. Commands reach the kernel only through the functions in app, so
// that tests can stand in for them. The first SIGINT or SIGTERM cancels the
// context of the command, which rolls back; the second ends the process at once.
//
// One goroutine runs the command; see package supervisor for those of launch
// and restore.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/crtrace/crtrace/cmd/internal/exitcode"
	"github.com/crtrace/crtrace/cmd/internal/supervisor"
	"github.com/crtrace/crtrace/restore"
	"github.com/crtrace/crtrace/snapshot"
	"github.com/crtrace/crtrace/snapshot/capture"
)

// app is one run of the program: its streams, its global flags, and the
// functions that do the work.
type app struct {
	out, err io.Writer
	log      *slog.Logger

	quiet      bool
	verbose    int
	logFile    string
	runtimeDir string
	json       bool // the command that runs prints JSON

	signal atomic.Int32 // first signal that has cancelled the command

	checkpoint supervisor.CheckpointFunc
	plan       func(im *snapshot.Image, o restore.Options) (*restore.Plan, error)
	run        func(ctx context.Context, im *snapshot.Image, p *restore.Plan) (*restore.Tree, error)
}

// Main runs the command line args (without the program's name) and returns the
// exit status.
func Main(args []string) int {
	a := &app{
		out: os.Stdout, err: os.Stderr, log: slog.New(slog.DiscardHandler),
		checkpoint: capture.Checkpoint, plan: restore.MakePlan, run: restore.Run,
	}
	return a.main(args)
}

// main runs a command line.
func (a *app) main(args []string) int {
	root := a.newRoot()
	root.SetArgs(args)
	root.SetOut(a.out)
	root.SetErr(a.err)
	cmd, err := root.ExecuteContextC(context.Background())
	if err == nil {
		return exitcode.OK
	}
	code := exitcode.From(err)
	a.report(cmd, code, err)
	return code
}

// cancellable returns a context that the first SIGINT, SIGTERM or SIGHUP
// cancels; the second ends the process at once, saying what that can leave
// behind. Signals that the caller has chosen to ignore stay ignored.
func (a *app) cancellable(parent context.Context, leftover string) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(parent)
	ch := make(chan os.Signal, 2)
	for _, sig := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(sig) {
			signal.Notify(ch, sig)
		}
	}
	go func() {
		for sig := range ch {
			n := sig.(syscall.Signal)
			if a.signal.CompareAndSwap(0, int32(n)) {
				cancel()
				continue
			}
			fmt.Fprintf(a.err, "crtrace: %v again: leaving at once; %s\n", n, leftover)
			os.Exit(exitcode.Signal + int(n))
		}
	}()
	return ctx, func() {
		signal.Stop(ch)
		close(ch)
		cancel()
	}
}

// interrupted replaces the error of a command that a signal has cancelled.
func (a *app) interrupted(err error) error {
	if n := a.signal.Load(); n != 0 && errors.Is(err, context.Canceled) {
		return &exitcode.Interrupted{Signal: syscall.Signal(n)}
	}
	return err
}

// note prints a remark for people on stderr.
func (a *app) note(format string, args ...any) {
	if !a.quiet {
		fmt.Fprintf(a.err, format+"\n", args...)
	}
}

// setup applies the environment and the global flags; it runs before each command.
func (a *app) setup(cmd *cobra.Command, _ []string) error {
	if err := applyEnvironment(cmd.Root().PersistentFlags(), os.LookupEnv); err != nil {
		return own(cmd, exitcode.With(exitcode.Usage, err))
	}
	log, err := newLogger(a.err, a.verbose, a.logFile)
	if err != nil {
		return own(cmd, err)
	}
	a.log = log
	return nil
}
