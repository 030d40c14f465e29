package supervisor

import (
	"errors"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// terminal is the state of the terminal that a program was started on. A shell
// puts its terminal right when a job of it was ended by a signal; it can't know
// that of ours, whose supervisor exits in its own time.
type terminal struct {
	fd       int
	settings unix.Termios
}

// lookAtTerminal returns the terminal that we are in the foreground of, nil when
// there is none.
func lookAtTerminal() *terminal {
	for fd := range 3 {
		if settings, err := unix.IoctlGetTermios(fd, unix.TCGETS); err == nil && inForeground(fd) {
			return &terminal{fd, *settings}
		}
	}
	return nil
}

// inForeground tells whether we are in the foreground of a terminal; changing it
// would stop us otherwise.
func inForeground(fd int) bool {
	group, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// putBack undoes what a killed program has done to its terminal.
func (t *terminal) putBack() error {
	if t == nil || !inForeground(t.fd) {
		return nil
	}
	return unix.IoctlSetTermios(t.fd, unix.TCSETSW, &t.settings)
}

// takeBack takes the terminal back from a process group that is no more: that of
// a job of the program, or of the program itself, which has ended without giving
// it back. Nobody could read from it otherwise.
func (t *terminal) takeBack() error {
	if t == nil {
		return nil
	}
	group, err := unix.IoctlGetInt(t.fd, unix.TIOCGPGRP)
	if err != nil || group == unix.Getpgrp() || !errors.Is(unix.Kill(-group, 0), unix.ESRCH) {
		return nil // it is ours, or somebody else's
	}
	signal.Ignore(syscall.SIGTTOU) // whoever is in the background is stopped for it
	return unix.IoctlSetPointerInt(t.fd, unix.TIOCSPGRP, unix.Getpgrp())
}
