package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/crtrace/crtrace/cmd/internal/exitcode"
	"github.com/crtrace/crtrace/cmd/internal/supervisor"
	"github.com/crtrace/crtrace/restore"
	"github.com/crtrace/crtrace/snapshot"
	"github.com/crtrace/crtrace/tracer"
)

// pidModes are the values of --pids.
var pidModes = []string{string(restore.PIDAuto), string(restore.PIDHost), string(restore.PIDNamespace), string(restore.PIDAny)}

// restoreFlags are the flags of restore.
type restoreFlags struct {
	pids     string
	tailDir  string
	files    []string
	remap    []string
	cwd      string
	detach   bool
	dryRun   bool
	reportFD int  // hidden: descriptor that a detached restore reports on, 0 without
	redirect bool // hidden: treat the vdso as that of another kernel
	inside   bool // hidden: this is the init of a pid namespace
}

func (a *app) newRestore() *cobra.Command {
	var f restoreFlags
	cmd := &cobra.Command{
		Use:     "restore [flags] DIR",
		Short:   "Bring a program back from an image",
		GroupID: groupRun,
		Long: "Brings the processes in the image DIR back and lets them run on. Terminals and standard\n" +
			"streams that led out of the program become those of this command. In the foreground it then\n" +
			"stands for the program as 'crtrace launch' does: passes signals on, answers checkpoint requests,\n" +
			"and ends with the program's status. What keeps an image from being restored is found before a\n" +
			"process is made, and listed; a restore that fails leaves nothing running.\n\n" +
			"--pids says where the processes get their ids from:\n" +
			"  auto       the original ids on this host if that is quick, else in a namespace (default)\n" +
			"  host       the original ids on this host\n" +
			"  namespace  the original ids in a pid namespace of their own\n" +
			"  any        whatever ids are free; for programs that do not care\n\n" +
			"Files that have grown since the checkpoint are rolled back to their length of then; what is\n" +
			"cut off is kept in the directory of --tail-dir. Rules that are given here go before those of\n" +
			"the checkpoint.\n\n" + fileRulesHelp + "\n" +
			"When the program's files lie elsewhere now, --remap OLD=NEW says where, for all that is below\n" +
			"the directory OLD, and --cwd which directory the program works in.\n\n" +
			"With --detach the program runs in the background, in a session of its own. Its standard\n" +
			"streams are those of this command where they lead to files, else /dev/null.\n\n" +
			"Failures before the program runs have the statuses 1 to 6 and 130, which the program may have\n" +
			"too: the message on stderr tells them apart." + exitStatus(exitcode.Table, exitcode.Program),
		Example:           "  crtrace restore crtrace-simulate-4242-20260301T120000\n  crtrace restore --dry-run image",
		Args:              exactly(1, "the directory of an image"),
		ValidArgsFunction: completeImages,
		RunE: func(cmd *cobra.Command, args []string) error {
			err := a.restoreCommand(cmd.Context(), f, args[0])
			if e, ok := errors.AsType[*exitcode.Error](err); ok && e.Err == nil {
				return err // the program's own status
			}
			if err != nil {
				return fmt.Errorf("restore %s: %w", args[0], a.interrupted(err))
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.pids, "pids", string(restore.PIDAuto), "process ids: `MODE` is "+strings.Join(pidModes, ", "))
	flags.StringVar(&f.tailDir, "tail-dir", "", "`DIR` for what is cut off files (default DIR.tails)")
	flags.StringArrayVar(&f.files, "files", nil, "what becomes of files, as `PATTERN=RULE`; may be repeated")
	flags.StringArrayVar(&f.remap, "remap", nil, "a directory that lies elsewhere now, as `OLD=NEW`; may be repeated")
	flags.StringVar(&f.cwd, "cwd", "", "`DIR` becomes the working directory")
	flags.BoolVar(&f.detach, "detach", false, "return when the program runs, and print its pid")
	flags.BoolVar(&f.dryRun, "dry-run", false, "print what would be done")
	flags.IntVar(&f.reportFD, "report-fd", 0, "")
	flags.BoolVar(&f.inside, "inside", false, "")
	flags.BoolVar(&f.redirect, "redirect-vdso", false, "")
	_ = flags.MarkHidden("redirect-vdso")
	_ = flags.MarkHidden("report-fd") // fails for unknown names only
	_ = flags.MarkHidden("inside")
	_ = cmd.RegisterFlagCompletionFunc("pids", cobra.FixedCompletions(pidModes, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// restoreCommand runs the way of restore that the flags ask for.
func (a *app) restoreCommand(parent context.Context, f restoreFlags, dir string) error {
	if !slices.Contains(pidModes, f.pids) {
		return exitcode.Usagef("--pids %q: want one of %s", f.pids, strings.Join(pidModes, ", "))
	}
	if f.detach && f.dryRun {
		return exitcode.Usagef("--detach and --dry-run exclude each other")
	}
	switch {
	case f.dryRun:
		return a.printPlan(f, dir)
	case f.detach:
		ctx, done := a.cancellable(parent, "a part of the program may be left running")
		defer done()
		return a.detach(ctx, f, dir)
	case f.reportFD != 0:
		return a.restoreDetached(parent, f, dir)
	}
	return a.restoreAndWatch(parent, f, dir, func(*restore.Tree) error { return nil })
}

// options turns the flags into what package restore wants.
func (a *app) options(f restoreFlags, dir string) (restore.Options, error) {
	tails := f.tailDir
	if tails == "" {
		tails = filepath.Clean(dir) + ".tails"
	}
	tails, err := filepath.Abs(tails)
	if err != nil {
		return restore.Options{}, fmt.Errorf("directory %s: %w", tails, err)
	}
	o := restore.Options{
		PIDs: restore.PIDMode(f.pids), Inside: f.inside, RedirectVDSO: f.redirect,
		Stdio: [3]*os.File{os.Stdin, os.Stdout, os.Stderr}, TailDir: tails, Log: a.log,
		Progress: func(what string) { a.note("crtrace: %s", printable(what)) },
	}
	if o.Files, err = fileRules(f.files); err == nil {
		o.Moves, err = moves(f.remap)
	}
	if err == nil && f.cwd != "" {
		o.Cwd, err = filepath.Abs(f.cwd)
	}
	return o, err
}

// passOn is the part of a command line that another crtrace needs to restore in
// the same way.
func (a *app) passOn(f restoreFlags) []string {
	var args []string
	for _, flag := range []struct{ name, value string }{
		{"--tail-dir", f.tailDir}, {"--cwd", f.cwd}, {"--log-file", a.logFile}, {"--runtime-dir", a.runtimeDir},
	} {
		if flag.value != "" {
			args = append(args, flag.name, flag.value)
		}
	}
	for _, rule := range f.files {
		args = append(args, "--files", rule)
	}
	for _, move := range f.remap {
		args = append(args, "--remap", move)
	}
	for range a.verbose {
		args = append(args, "--verbose")
	}
	if a.quiet {
		args = append(args, "--quiet")
	}
	if f.redirect {
		args = append(args, "--redirect-vdso")
	}
	return args
}

// openPlan opens the image and makes the plan. The caller must close the image.
func (a *app) openPlan(f restoreFlags, dir string, sleeps *tracer.Sleeps, ready func(int) error) (*snapshot.Image, *restore.Plan, error) {
	o, err := a.options(f, dir)
	if err != nil {
		return nil, nil, err
	}
	o.Sleeps, o.Ready = sleeps, ready
	im, err := snapshot.Open(dir)
	if err != nil {
		return nil, nil, err
	}
	p, err := a.plan(im, o)
	if err != nil {
		_ = im.Close() // the refusal is what counts
		return nil, nil, err
	}
	return im, p, nil
}

// printPlan prints what restore would do.
func (a *app) printPlan(f restoreFlags, dir string) error {
	im, p, err := a.openPlan(f, dir, nil, nil)
	if err != nil {
		return err
	}
	defer im.Close()
	_, err = fmt.Fprintln(a.out, printable(strings.TrimRight(p.String(), "\n")))
	return err
}

// restoreAndWatch restores an image, calls ready, and stands for the program
// until it ends. When ready fails the program runs on.
func (a *app) restoreAndWatch(parent context.Context, f restoreFlags, dir string, ready func(*restore.Tree) error) error {
	ctx, done := a.cancellable(parent, "the program may be left half-built; it ends with this process")
	mode, err := a.modeOf(f, dir)
	if err == nil && mode == restore.PIDNamespace {
		err = a.restoreOutside(ctx, f, dir, ready)
		done()
		return err
	}
	if err != nil {
		done()
		return err
	}
	config := a.supervisorConfig()
	if f.inside {
		if config.PIDs, err = enter(); err != nil {
			done()
			return err
		}
	}
	s, err := supervisor.New(config)
	if err != nil {
		done()
		return err
	}
	defer s.Close()
	tree, err := a.build(ctx, f, dir, config.Sleeps, s.Prepare)
	if !f.inside && f.pids == string(restore.PIDAuto) && errors.Is(err, restore.ErrIDs) && restore.CanUseNamespaces() {
		s.Close() // another process has just taken an id
		err = a.restoreOutside(ctx, f, dir, ready)
		done()
		return err
	}
	done() // from here on signals are the program's
	if err != nil {
		return err
	}
	root := tree.Root
	for _, w := range tree.Warnings {
		a.note("crtrace: warning: %s", printable(w))
	}
	if config.PIDs != nil {
		tree.Root = config.PIDs.Outside(tree.Root)
	}
	if err := ready(tree); err != nil {
		a.log.Warn("nobody to report to", "error", err)
	}
	status, err := s.Watch(root)
	return programStatus(status, err)
}

// modeOf returns where the ids of a restore will come from.
func (a *app) modeOf(f restoreFlags, dir string) (restore.PIDMode, error) {
	if f.inside {
		return restore.PIDHost, nil
	}
	im, p, err := a.openPlan(f, dir, nil, nil)
	if err != nil {
		return "", err
	}
	defer im.Close()
	return p.Mode(), nil
}

// build opens the image and runs the plan.
func (a *app) build(ctx context.Context, f restoreFlags, dir string, sleeps *tracer.Sleeps, ready func(int) error) (*restore.Tree, error) {
	im, p, err := a.openPlan(f, dir, sleeps, ready)
	if err != nil {
		return nil, err
	}
	defer im.Close()
	tree, err := a.run(ctx, im, p)
	if err != nil {
		return nil, err
	}
	a.log.Info("restored", "root", tree.Root, "reach", tree.Reach, "build", tree.Build)
	return tree, nil
}
