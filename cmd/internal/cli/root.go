package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/crtrace/crtrace/cmd/internal/exitcode"
)

// The groups of commands in the help text.
const (
	groupRun   = "run"
	groupImage = "image"
	groupHost  = "host"
)

// newRoot builds the tree of commands.
func (a *app) newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "crtrace",
		Short: "Checkpoint and restart running programs, as an ordinary user",
		Long: "crtrace writes running programs into images on disk, and brings them back from there:\n" +
			"with the same process ids, memory, threads, open files and timers. It works from outside,\n" +
			"without root, without a library inside the program, and on any program.\n\n" +
			"Each global flag can be given in the environment too: --log-file as CRTRACE_LOG_FILE,\n" +
			"--verbose as CRTRACE_VERBOSE=1, and so on." + exitStatus(exitcode.Table),
		SilenceUsage:               true,
		SilenceErrors:              true,
		DisableAutoGenTag:          true,
		PersistentPreRunE:          a.setup,
		Args:                       unknownCommand,
		RunE:                       func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SuggestionsMinimumDistance: 2,
	}
	flags := root.PersistentFlags()
	flags.BoolVarP(&a.quiet, "quiet", "q", false, "print results and errors only")
	flags.CountVarP(&a.verbose, "verbose", "v", "say on stderr what is being done (twice: in detail)")
	flags.StringVar(&a.logFile, "log-file", "", "append a detailed log to `FILE`")
	flags.StringVar(&a.runtimeDir, "runtime-dir", "", "`DIR` of the supervisors' sockets (default $XDG_RUNTIME_DIR/crtrace, else /tmp/crtrace-UID)")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return own(cmd, exitcode.With(exitcode.Usage, err))
	})
	root.AddGroup(
		&cobra.Group{ID: groupRun, Title: "Running and checkpointing:"},
		&cobra.Group{ID: groupImage, Title: "Looking at images:"},
		&cobra.Group{ID: groupHost, Title: "This host and this program:"},
	)
	root.AddCommand(
		a.newLaunch(), a.newCheckpoint(), a.newRestore(),
		a.newInspect(), a.newVerify(),
		a.newDoctor(), a.newVersion(), a.newProbe(),
	)
	root.SetHelpCommandGroupID(groupHost)
	root.SetCompletionCommandGroupID(groupHost)
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	completeHelp(root)
	return root
}

// completeHelp gives the commands that cobra supplies what ours have: a section
// on the exit status.
func completeHelp(cmd *cobra.Command) {
	if !strings.Contains(cmd.Long, "EXIT STATUS") {
		if cmd.Long == "" {
			cmd.Long = cmd.Short
		}
		cmd.Long = strings.TrimRight(cmd.Long, "\n") + exitStatus(pick("0", "1", "2"))
	}
	for _, c := range cmd.Commands() {
		completeHelp(c)
	}
}

// unknownCommand refuses words that are no command, with the nearest ones.
func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := ""
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		hint = fmt.Sprintf("; did you mean %s?", strings.Join(near, " or "))
	}
	return exitcode.Usagef("unknown command %q%s", args[0], hint)
}

// exactly is a validator for commands that take n arguments.
func exactly(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == n {
			return nil
		}
		if n == 0 {
			return exitcode.Usagef("%s takes no arguments, got %q", cmd.Name(), args)
		}
		return exitcode.Usagef("%s needs %s, got %s", cmd.Name(), what, count(len(args), "argument", "arguments"))
	}
}

// own gives a failure of crtrace itself the status that the command has for it:
// launch keeps the small numbers for its program.
func own(cmd *cobra.Command, err error) error {
	if cmd.Name() == launchName {
		return exitcode.With(exitcode.Own, err)
	}
	return err
}

// exitStatus is the last section of a command's help.
func exitStatus(tables ...[]exitcode.Entry) string {
	var b strings.Builder
	b.WriteString("\n\nEXIT STATUS\n")
	for _, table := range tables {
		for _, e := range table {
			fmt.Fprintf(&b, "  %-6s %s\n", e.Code, e.Meaning)
		}
	}
	return strings.TrimRight(b.String(), "\n")
}

// pick takes some lines of the table of exit statuses.
func pick(codes ...string) []exitcode.Entry {
	var picked []exitcode.Entry
	for _, code := range codes {
		for _, e := range exitcode.Table {
			if e.Code == code {
				picked = append(picked, e)
			}
		}
	}
	return picked
}

// completeImages completes names of images, which are directories.
func completeImages(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveFilterDirs
}
