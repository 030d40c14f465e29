package cli

import (
	"github.com/spf13/cobra"

	"github.com/crtrace/crtrace/cmd/internal/exitcode"
	"github.com/crtrace/crtrace/cmd/internal/supervisor"
	"github.com/crtrace/crtrace/tracer"
)

// launchName is the name of the command whose own failures have numbers of
// their own.
const launchName = "launch"

func (a *app) newLaunch() *cobra.Command {
	cmd := &cobra.Command{
		Use:     launchName + " [flags] PROGRAM [ARGS...]",
		Short:   "Run a program so that it can be checkpointed",
		GroupID: groupRun,
		Long: "Runs PROGRAM with the environment, directory, terminal, standard streams and signal\n" +
			"dispositions of the caller, and stays as its parent: passes signals on, stops when it stops,\n" +
			"and ends with its status. Nothing is attached to the program while it runs.\n\n" +
			"Any program of the same user can be checkpointed without launch too. It is needed where\n" +
			"the kernel lets only ancestors trace a process (kernel.yama.ptrace_scope=1), and it keeps\n" +
			"daemons that the program leaves behind within the tree.\n\n" +
			"Everything after PROGRAM belongs to the program." + exitStatus(exitcode.Program, exitcode.Launch),
		Example: "  crtrace launch ./simulate --steps 1000000\n  crtrace checkpoint --pid $(pgrep simulate)",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return exitcode.With(exitcode.Own, exitcode.Usagef("launch needs a program"))
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			s, err := supervisor.New(a.supervisorConfig())
			if err != nil {
				return exitcode.With(exitcode.Own, err)
			}
			defer s.Close()
			status, err := s.Launch(args)
			return programStatus(status, err)
		},
	}
	cmd.Flags().SetInterspersed(false)
	return cmd
}

// supervisorConfig is what the supervisors of launch and restore have in common.
func (a *app) supervisorConfig() supervisor.Config {
	return supervisor.Config{RuntimeDir: a.runtimeDir, Checkpoint: a.checkpoint, Tool: toolVersion(), Log: a.log, Sleeps: tracer.NewSleeps()}
}

// programStatus makes the status of a program the status of the command.
func programStatus(status int, err error) error {
	if err == nil && status != 0 {
		return &exitcode.Error{Code: status}
	}
	return err
}
