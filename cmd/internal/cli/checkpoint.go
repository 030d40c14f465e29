package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/crtrace/crtrace/cmd/internal/exitcode"
	"github.com/crtrace/crtrace/cmd/internal/supervisor"
	"github.com/crtrace/crtrace/cmd/internal/wire"
	"github.com/crtrace/crtrace/snapshot/capture"
)

// checkpointFlags are the flags of checkpoint.
type checkpointFlags struct {
	pid       int
	output    string
	kill      bool
	saveFiles bool
	files     []string
	tcpClose  bool
}

// checkpointResult is the result in JSON.
type checkpointResult struct {
	MessageType string `json:"message_type"` // "checkpoint_result"
	PID         int    `json:"pid"`
	*capture.Result
}

func (a *app) newCheckpoint() *cobra.Command {
	var f checkpointFlags
	cmd := &cobra.Command{
		Use:     "checkpoint --pid PID [flags]",
		Short:   "Write a running program into an image",
		GroupID: groupRun,
		Long: "Writes the process PID and all its descendants into an image, a new directory. The program\n" +
			"is stopped for a moment and then runs on as if nothing had happened; with --kill it ends\n" +
			"once the image is complete. The name of the directory goes to stdout.\n\n" +
			"When a checkpoint fails or is interrupted there is no image, and the program runs on.\n" +
			"What can't be brought back later is found before anything is touched, and listed.\n\n" +
			"A program under 'crtrace launch' or 'crtrace restore' is checkpointed by that process;\n" +
			"its requests are served one after the other. The image holds the memory of the program,\n" +
			"with every secret in it: keep it as closed as it is made.\n\n" + fileRulesHelp + "\n" +
			"A TCP connection to a process that is not part of the checkpoint is refused. With --tcp-close\n" +
			"the program finds it reset after a restore; a program that connects again copes with that." + exitStatus(exitcode.Table),
		Example: "  crtrace checkpoint --pid 4242\n  crtrace checkpoint --pid 4242 --kill -o /scratch/before-maintenance",
		Args:    exactly(0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("pid") {
				return exitcode.Usagef("checkpoint needs --pid")
			}
			ctx, done := a.cancellable(cmd.Context(), "the program is unharmed, a part of an image may be left")
			defer done()
			if err := a.runCheckpoint(ctx, f); err != nil {
				return fmt.Errorf("checkpoint %d: %w", f.pid, a.interrupted(err))
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.IntVarP(&f.pid, "pid", "p", 0, "`PID` of the root process")
	flags.StringVarP(&f.output, "output", "o", "", "`DIR` to make (default crtrace-NAME-PID-TIME here)")
	flags.BoolVar(&f.kill, "kill", false, "end the program once the image is complete")
	flags.BoolVar(&f.saveFiles, "save-files", false, "keep the content of files that are open for writing in the image")
	flags.StringArrayVar(&f.files, "files", nil, "what becomes of files, as `PATTERN=RULE`; may be repeated")
	flags.BoolVar(&f.tcpClose, "tcp-close", false, "accept TCP connections to outside; a restore resets them")
	flags.BoolVar(&a.json, "json", false, "print the result as JSON")
	return cmd
}

// runCheckpoint checks the target, takes the checkpoint and prints the result.
func (a *app) runCheckpoint(ctx context.Context, f checkpointFlags) error {
	t, err := a.findTarget(ctx, f.pid)
	if err != nil {
		return err
	}
	rules, err := fileRules(f.files)
	if err != nil {
		return err
	}
	dir, err := imageDir(f.output, t)
	if err != nil {
		return err
	}
	result, err := a.take(ctx, t, capture.Options{
		Dir: dir, Kill: f.kill, SaveFiles: f.saveFiles, Files: rules, TCPClose: f.tcpClose, Tool: toolVersion(), Log: a.log,
	})
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(a.out, checkpointResult{"checkpoint_result", f.pid, result})
	}
	for _, w := range result.Warnings {
		a.note("crtrace: warning: %s", printable(w))
	}
	a.note("%s, %s, %s, paused %s, took %s", count(result.Processes, "process", "processes"),
		count(result.Threads, "thread", "threads"), sizeText(result.Bytes), durationText(result.Pause), durationText(result.Total))
	_, err = fmt.Fprintln(a.out, result.Dir)
	return err
}

// take has the target's supervisor take the checkpoint, or takes it here when
// there is none.
func (a *app) take(ctx context.Context, t *target, o capture.Options) (*capture.Result, error) {
	var remote *supervisor.Remote
	var err error
	if t.uid == os.Geteuid() {
		remote, err = supervisor.Find(ctx, a.runtimeDir, t.uid, t.pid)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if remote == nil {
		result, direct := a.checkpoint(ctx, t.pid, o)
		if direct != nil && err != nil && exitcode.From(direct) == exitcode.Permission {
			return nil, fmt.Errorf("%w; %w: continue the job and try again", direct, err)
		}
		return result, direct
	}
	a.log.Info("asking the supervisor", "supervisor", remote.Supervisor, "program", remote.Program)
	reply, err := remote.Do(ctx, &wire.Request{
		Op: wire.OpCheckpoint, PID: t.pid, Dir: o.Dir, Kill: o.Kill, SaveFiles: o.SaveFiles, Files: texts(o.Files), TCPClose: o.TCPClose,
	})
	switch {
	case err != nil:
		return nil, err
	case reply.Error != nil:
		return nil, reply.Error
	case reply.Result == nil:
		return nil, fmt.Errorf("supervisor %d: reply without a result", remote.Supervisor)
	}
	return reply.Result, nil
}

// imageDir returns the absolute path of the image to make. A name that the user
// has not chosen is made unique.
func imageDir(output string, t *target) (string, error) {
	if output != "" {
		dir, err := filepath.Abs(output)
		if err != nil {
			return "", fmt.Errorf("directory %s: %w", output, err)
		}
		if _, err := os.Lstat(dir); err == nil {
			return "", fmt.Errorf("directory %s: %w; choose another name", output, os.ErrExist)
		}
		return dir, nil
	}
	base, err := filepath.Abs(defaultName(t.comm, t.pid, time.Now()))
	if err != nil {
		return "", fmt.Errorf("current directory: %w", err)
	}
	dir := base
	for n := 2; ; n++ {
		if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
			return dir, nil
		} else if err != nil {
			return "", err
		}
		dir = fmt.Sprintf("%s-%d", base, n)
	}
}

// defaultName is the name of an image when the user gives none. The name of the
// process is free text: what would be awkward in a file name becomes "_".
func defaultName(comm string, pid int, now time.Time) string {
	safe := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '.', r == '+':
			return r
		}
		return '_'
	}, comm)
	return fmt.Sprintf("crtrace-%s-%d-%s", safe, pid, now.UTC().Format("20060102T150405"))
}

// durationText is a duration for people, in milliseconds or seconds.
func durationText(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}
