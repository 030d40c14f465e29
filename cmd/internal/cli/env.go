package cli

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"
)

// envPrefix begins the names of all variables that crtrace reads.
const envPrefix = "CRTRACE_"

// envName is the environment variable that stands for a global flag.
func envName(flag string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// applyEnvironment sets the flags that the command line has not set from the
// environment. An empty variable counts as not set.
func applyEnvironment(flags *pflag.FlagSet, lookup func(string) (string, bool)) error {
	var err error
	flags.VisitAll(func(f *pflag.Flag) {
		value, ok := lookup(envName(f.Name))
		if f.Changed || !ok || value == "" || err != nil {
			return
		}
		if e := flags.Set(f.Name, value); e != nil {
			err = fmt.Errorf("environment variable %s=%q: %w", envName(f.Name), value, e)
		}
	})
	return err
}

// newLogger makes the logger that -v and --log-file ask for. A log file is
// appended to and gets everything; stderr gets what -v (informative) or -vv
// (debugging) let through.
func newLogger(stderr io.Writer, verbose int, file string) (*slog.Logger, error) {
	if file != "" {
		f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_APPEND|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, fmt.Errorf("log file: %w", err)
		}
		return slog.New(slog.NewTextHandler(f, &slog.HandlerOptions{Level: slog.LevelDebug})), nil
	}
	if verbose <= 0 {
		return slog.New(slog.DiscardHandler), nil
	}
	level := slog.LevelInfo
	if verbose > 1 {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level})), nil
}
