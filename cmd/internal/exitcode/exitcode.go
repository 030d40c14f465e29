// Package exitcode is the one table of crtrace's exit statuses.
//
// Every error that reaches main is turned into a status by [From], and every
// help text quotes [Table]. Nothing else in the program chooses a number. The
// package holds no state.
package exitcode

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/crtrace/crtrace/restore"
	"github.com/crtrace/crtrace/snapshot"
	"github.com/crtrace/crtrace/snapshot/capture"
	"github.com/crtrace/crtrace/tracer"
)

// The exit statuses.
const (
	OK          = 0   // done
	Failure     = 1   // failed in a way that has no number of its own
	Usage       = 2   // the command line makes no sense
	Unsupported = 3   // it can't be checkpointed, or not be restored here; nothing was touched
	Image       = 4   // the image is damaged or of another version
	Permission  = 5   // the kernel does not let this user do it
	Gone        = 6   // the process does not exist, or ended meanwhile
	Coordinator = 7   // the coordinator can't be reached
	Own         = 125 // launch: crtrace itself failed, the program never ran
	CannotExec  = 126 // launch: the program was found but can't be executed
	NotFound    = 127 // launch: the program was not found
	Signal      = 128 // plus N: ended by signal N
)

// Entry is one line of the table, for help texts and manual pages.
type Entry struct {
	Code    string
	Meaning string
}

// Table lists the statuses of all commands but launch.
var Table = []Entry{
	{"0", "success"},
	{"1", "failure"},
	{"2", "usage: unknown command, flag or argument"},
	{"3", "it can't be checkpointed, or not be restored here; nothing was touched"},
	{"4", "the image is damaged or has another format version"},
	{"5", "no permission"},
	{"6", "the process does not exist or has ended"},
	{"7", "the coordinator can't be reached"},
	{"130", "interrupted by SIGINT, everything was rolled back (143: SIGTERM)"},
}

// Program lists the statuses that a command has while it stands for a program.
var Program = []Entry{
	{"N", "the status of the program"},
	{"128+N", "the program was ended by signal N"},
}

// Launch lists the statuses that only launch has.
var Launch = []Entry{
	{"125", "crtrace itself failed (wrong usage included); the program did not run"},
	{"126", "the program can't be executed"},
	{"127", "the program was not found"},
}

// Error is an error that carries its own exit status.
type Error struct {
	Code int
	Err  error // nil: nothing is to be said, the status says it all
}

// Error implements error.
func (e *Error) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit status %d", e.Code)
	}
	return e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// ExitCode returns the status.
func (e *Error) ExitCode() int { return e.Code }

// With gives err the status code. A nil err stays nil.
func With(code int, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Code: code, Err: err}
}

// Usagef makes an error with the status of a wrong command line.
func Usagef(format string, args ...any) error {
	return &Error{Code: Usage, Err: fmt.Errorf(format, args...)}
}

// Interrupted is the error of a command that a signal has ended, after
// everything was rolled back.
type Interrupted struct {
	Signal syscall.Signal
}

// Error implements error.
func (e *Interrupted) Error() string { return fmt.Sprintf("interrupted (%v)", e.Signal) }

// ExitCode returns 128+N.
func (e *Interrupted) ExitCode() int { return Signal + int(e.Signal) }

// coder is implemented by errors that know their status.
type coder interface {
	error
	ExitCode() int
}

// From maps an error to the exit status of the process.
func From(err error) int {
	if err == nil {
		return OK
	}
	if c, ok := errors.AsType[coder](err); ok {
		return c.ExitCode()
	}
	if _, ok := errors.AsType[*capture.UnsupportedError](err); ok {
		return Unsupported
	}
	if _, ok := errors.AsType[*restore.RefusedError](err); ok {
		return Unsupported
	}
	if _, ok := errors.AsType[*snapshot.CorruptError](err); ok {
		return Image
	}
	if _, ok := errors.AsType[*snapshot.VersionError](err); ok {
		return Image
	}
	if _, ok := errors.AsType[*tracer.PermissionError](err); ok {
		return Permission
	}
	switch {
	case errors.Is(err, snapshot.ErrNotImage):
		return Image
	case errors.Is(err, tracer.ErrTaskGone), errors.Is(err, syscall.ESRCH):
		return Gone
	case errors.Is(err, os.ErrPermission):
		return Permission
	case errors.Is(err, context.Canceled):
		return Signal + int(syscall.SIGINT)
	}
	return Failure
}
