package cli

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/crtrace/crtrace/cmd/internal/doctor"
	"github.com/crtrace/crtrace/cmd/internal/exitcode"
)

// doctorLine is one check in JSON.
type doctorLine struct {
	MessageType string `json:"message_type"` // "check"
	doctor.Check
}

// doctorVerdict is the last line in JSON.
type doctorVerdict struct {
	MessageType string `json:"message_type"` // "verdict"
	doctor.Verdict
}

func (a *app) newDoctor() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "doctor",
		Short:   "Try out what this host allows",
		GroupID: groupHost,
		Long: "Tries each feature of the kernel that crtrace uses, on processes of its own, and says what the\n" +
			"answer means. Nothing on the host is changed.\n\n" +
			"Status 0 means that checkpoint and restore work here in at least one way, 1 that they don't." +
			exitStatus(pick("0", "1", "2", "130")),
		Args: exactly(0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, done := a.cancellable(cmd.Context(), "its processes end by themselves")
			defer done()
			var checks []doctor.Check
			verdict, err := doctor.Run(ctx, func(c doctor.Check) error {
				checks = append(checks, c)
				if a.json {
					return a.printJSON(a.out, doctorLine{"check", c})
				}
				return nil
			})
			if err != nil {
				return fmt.Errorf("doctor: %w", a.interrupted(err))
			}
			if a.json {
				err = a.printJSON(a.out, doctorVerdict{"verdict", verdict})
			} else {
				err = a.printChecks(checks, verdict)
			}
			if err == nil && !verdict.OK() {
				return &exitcode.Error{Code: exitcode.Failure}
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&a.json, "json", false, "print JSON, a line for each check")
	return cmd
}

// printChecks prints the results for people.
func (a *app) printChecks(checks []doctor.Check, v doctor.Verdict) error {
	w := tabwriter.NewWriter(a.out, 0, 8, 2, ' ', 0)
	for _, c := range checks {
		fmt.Fprintf(w, "%s\t%s\t%s\n", c.Status, c.Name, escape(c.Detail))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(a.out, "\ncheckpoint: %s\nrestore: %s\n", v.Checkpoint, v.Restore)
	return err
}

// newProbe is the command that doctor runs in processes of its own.
func (a *app) newProbe() *cobra.Command {
	return &cobra.Command{
		Use:    doctor.ProbeCommand + " NAME [ARGS...]",
		Short:  "Part of 'crtrace doctor'",
		Hidden: true,
		Long:   "Tries one feature of the kernel, on behalf of 'crtrace doctor'." + exitStatus(pick("0", "1", "2")),
		RunE: func(_ *cobra.Command, args []string) error {
			return doctor.Probe(a.out, args)
		},
	}
}
