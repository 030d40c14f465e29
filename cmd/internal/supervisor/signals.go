package supervisor

import (
	"os"
	"os/signal"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/crtrace/crtrace/tracer/procfs"
)

// caught are the signals that the supervisor catches. Not among them: what
// can't be caught, what a fault of its own raises (SIGSEGV, ...), SIGURG (the Go
// runtime sends it to itself), SIGPROF, SIGCHLD, and SIGPIPE (a write of its own
// raises it).
var caught = func() []syscall.Signal {
	list := []syscall.Signal{
		unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM,
		unix.SIGCONT, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU, unix.SIGWINCH, unix.SIGXCPU, unix.SIGXFSZ,
		unix.SIGVTALRM, unix.SIGIO, unix.SIGPWR, unix.SIGSTKFLT,
	}
	for n := syscall.Signal(35); n <= 64; n++ { // the C library and the runtime keep 32 to 34
		list = append(list, n)
	}
	return list
}()

// catch catches all signals but those that the caller had ignored: see
// bequeathIgnored and catchIgnored.
func (s *Supervisor) catch() {
	for _, sig := range caught {
		if !slices.Contains(s.ignored, sig) {
			signal.Notify(s.signals, sig)
		}
	}
}

// bequeathIgnored ignores what the caller had ignored, for a child to inherit.
// Handlers become the default action in a child, so nothing else is inherited.
func (s *Supervisor) bequeathIgnored() {
	for _, sig := range s.ignored {
		signal.Ignore(sig)
	}
}

// catchIgnored completes catch once the program has started. SIGPIPE is ignored
// from here on: a broken log must not end the supervisor.
func (s *Supervisor) catchIgnored() {
	for _, sig := range s.ignored {
		switch {
		case slices.Contains(caught, sig):
			signal.Notify(s.signals, sig)
		case sig == unix.SIGCHLD:
			signal.Reset(sig) // while it is ignored the kernel throws exit statuses away
		}
	}
	signal.Ignore(unix.SIGPIPE)
}

// forward passes a signal on to the program, unless the program has got it too.
func (s *Supervisor) forward(sig syscall.Signal) {
	switch sig {
	case unix.SIGINT, unix.SIGQUIT, unix.SIGTSTP, unix.SIGWINCH:
		if s.terminalReaches() {
			return
		}
	case unix.SIGXFSZ:
		return // an image of ours has met the limit of file sizes: not the program's fault
	case unix.SIGTTIN, unix.SIGTTOU:
		if s.sameGroup() {
			return // the kernel sends these to whole groups
		}
	case unix.SIGCONT:
		// The shell continues the whole group. Only a program that stands still
		// has missed that.
		if st, err := procfs.ReadStat(s.pid); err == nil && st.State != 'T' {
			return
		}
	}
	s.cfg.Log.Debug("signal passed on", "signal", sig)
	// The pid is ours until reap has waited for it, and run ends right then.
	if err := unix.Kill(s.pid, sig); err != nil {
		s.cfg.Log.Warn("signal not passed on", "signal", sig, "error", err)
	}
}

// terminalReaches tells whether a key such as Ctrl-C, which the terminal sends
// to its foreground group, reaches the program as well as us.
func (s *Supervisor) terminalReaches() bool {
	st, err := procfs.ReadStat(os.Getpid())
	return err == nil && st.TPGID == st.PGID && s.sameGroup()
}

// sameGroup tells whether the program is still in our process group.
func (s *Supervisor) sameGroup() bool {
	st, err := procfs.ReadStat(s.pid)
	return err == nil && st.PGID == unix.Getpgrp()
}
