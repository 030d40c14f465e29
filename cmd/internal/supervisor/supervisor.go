// Package supervisor runs a program, stands for it towards the shell, and
// answers requests to checkpoint it.
//
// In a nutshell: the program is a child in the caller's own process group,
// session and terminal. It starts traced, so that it stands at its first
// instruction until the socket listens, and is then let go: nothing is attached
// while it runs. The supervisor is its subreaper, passes signals on, stops when
// it stops, and ends with its status.
//
// # Waiting
//
// A checkpoint traces the program from a thread of this very process, and a wait
// call of any other thread would steal its ptrace stops. Therefore nobody waits
// for anything without holding the turn, a lock that a checkpoint holds from
// beginning to end; exits are noticed by a pidfd and SIGCHLD, which consume
// nothing. Stops and exits that happen meanwhile are reported after the
// checkpoint. The turn also puts concurrent requests in order: the second waits.
//
// # Goroutines
//
// run is the only one that acts on signals and on the program's state changes;
// reap is the only one that calls wait; serve starts one goroutine per
// connection. They share the turn and channels, nothing else.
package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/crtrace/crtrace/cmd/internal/exitcode"
	"github.com/crtrace/crtrace/snapshot/capture"
	"github.com/crtrace/crtrace/tracer"
	"github.com/crtrace/crtrace/tracer/procfs"
)

// CheckpointFunc takes a checkpoint; it is capture.Checkpoint but for tests.
type CheckpointFunc func(ctx context.Context, pid int, o capture.Options) (*capture.Result, error)

// Config is what a supervisor needs to know. Checkpoint must be set.
type Config struct {
	RuntimeDir string // directory of the socket; empty: where rundir says
	Checkpoint CheckpointFunc
	Tool       string // version of crtrace, for images
	PIDs       PIDs   // set in the init of a pid namespace; nil: ids are as everybody knows them
	Sleeps     *tracer.Sleeps
	Log        *slog.Logger
}

// PIDs translates process ids between a pid namespace and the world outside.
// Ids that are not known there become 0.
type PIDs interface {
	Inside(pid int) int
	Outside(pid int) int
}

// inside returns the id that we know a process by whom clients know by pid.
func (c *Config) inside(pid int) int {
	if c.PIDs == nil {
		return pid
	}
	return c.PIDs.Inside(pid)
}

// outside returns the id that clients know one of our processes by.
func (c *Config) outside(pid int) int {
	if c.PIDs == nil {
		return pid
	}
	return c.PIDs.Outside(pid)
}

// Supervisor watches one program. Make it with New before the program starts,
// so that no signal slips through.
type Supervisor struct {
	cfg      Config
	ignored  []syscall.Signal // signals that the caller of crtrace had ignored
	signals  chan os.Signal
	turn     chan struct{} // holds one token; whoever has taken it may wait and trace
	kick     chan struct{} // asks reap for a pass
	events   chan event
	pid      int
	server   *server
	prepared bool             // Prepare holds the turn until Watch
	early    *unix.WaitStatus // how the program ended, when it did before it ran
	tty      *terminal
}

// event is a change of the program's state.
type event struct {
	status unix.WaitStatus
	lost   bool // it has ended and somebody else has taken its status
}

// New prepares this process for its role: it becomes a subreaper and catches
// the signals that are to be passed on.
func New(cfg Config) (*Supervisor, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("become a subreaper: %w", err)
	}
	s := &Supervisor{
		cfg:     cfg,
		ignored: inheritedIgnores(),
		signals: make(chan os.Signal, 128),
		turn:    make(chan struct{}, 1),
		kick:    make(chan struct{}, 1),
		events:  make(chan event, 64),
		tty:     lookAtTerminal(),
	}
	s.turn <- struct{}{}
	s.catch()
	return s, nil
}

// Close gives the signals back and removes the socket. The program is left
// alone.
func (s *Supervisor) Close() {
	signal.Stop(s.signals)
	if s.server != nil {
		s.server.close()
		s.server = nil
	}
}

// Prepare listens on the socket of the program pid, a child of this process that
// does not run yet: so nobody who sees it run finds it without a socket. Requests
// wait until Watch.
func (s *Supervisor) Prepare(pid int) error {
	<-s.turn
	if err := s.listen(pid); err != nil {
		s.turn <- struct{}{}
		return err
	}
	s.prepared = true
	return nil
}

// Watch stands for the program pid, a child of this process, until it ends, and
// listens on its socket if Prepare has not begun that. It returns the status to
// exit with: the program's own, or 128+N when signal N ended it.
func (s *Supervisor) Watch(pid int) (int, error) {
	s.catchIgnored()
	if s.prepared {
		s.prepared = false
		s.turn <- struct{}{}
	} else if err := s.listen(pid); err != nil {
		return 0, err
	}
	return s.run()
}

// Stand is Watch without a socket: for a child that answers requests itself.
func (s *Supervisor) Stand(pid int) (int, error) {
	s.catchIgnored()
	s.pid = pid
	return s.run()
}

// listen opens the socket for pid.
func (s *Supervisor) listen(pid int) error {
	s.pid = pid
	srv, err := newServer(s)
	if err != nil {
		return err
	}
	s.server = srv
	go srv.serve()
	return nil
}

// run passes signals and stops on until the program has ended.
func (s *Supervisor) run() (int, error) {
	if s.early != nil {
		return code(*s.early), nil
	}
	pidfd, err := unix.PidfdOpen(s.pid, 0)
	if err != nil {
		return 0, fmt.Errorf("watch process %d: %w", s.pid, err)
	}
	defer unix.Close(pidfd)
	child := make(chan os.Signal, 1)
	signal.Notify(child, syscall.SIGCHLD)
	defer signal.Stop(child)
	done := make(chan struct{})
	defer close(done)
	go s.watchExit(pidfd)
	go s.reap(pidfd, done)
	s.poke() // what happened before SIGCHLD was caught
	for {
		select {
		case <-child:
			s.poke()
		case sig := <-s.signals:
			s.forward(sig.(syscall.Signal))
		case ev := <-s.events:
			switch {
			case ev.lost:
				return 0, fmt.Errorf("process %d has ended, but its status is lost", s.pid)
			case ev.status.Exited():
				if err := s.tty.takeBack(); err != nil {
					s.cfg.Log.Warn("the terminal is not in our hands", "error", err)
				}
				return code(ev.status), nil
			case ev.status.Signaled():
				if err := errors.Join(s.tty.takeBack(), s.tty.putBack()); err != nil {
					s.cfg.Log.Warn("the terminal stays as the program has left it", "error", err)
				}
				return code(ev.status), nil
			case ev.status.Stopped():
				s.stop(ev.status.StopSignal())
			}
		}
	}
}

// code is the exit status that says what a wait status says. A program that
// dumped core has left its core file; we leave none.
func code(status unix.WaitStatus) int {
	if status.Signaled() {
		return exitcode.Signal + int(status.Signal())
	}
	return status.ExitStatus()
}

// watchExit pokes reap when the program ends. A pidfd is readable from the
// moment its process is a zombie, whoever traces it.
func (s *Supervisor) watchExit(pidfd int) {
	fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(fds, -1)
		if err == unix.EINTR {
			continue
		}
		s.poke()
		return
	}
}

// poke asks for a pass of reap; any number of requests makes one pass.
func (s *Supervisor) poke() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// stop stops the supervisor after the program was stopped by sig, so that a
// shell with job control sees its job stop and takes the terminal back. Nobody
// else profits from that, and whoever continues the program by its own pid would
// leave the supervisor stopped for good: hence only below such a shell.
func (s *Supervisor) stop(sig syscall.Signal) {
	if !underJobControl() {
		return
	}
	// The program may have been continued since; then nobody would wake us.
	if st, err := procfs.ReadStat(s.pid); err != nil || st.State != 'T' {
		return
	}
	s.cfg.Log.Debug("the program has stopped, stopping too", "signal", sig)
	if err := unix.Kill(os.Getpid(), unix.SIGSTOP); err != nil {
		s.cfg.Log.Warn("can't stop myself", "error", err)
	}
}

// underJobControl tells whether the parent is a shell that has put this process
// into a group of its own: same session, another group.
func underJobControl() bool {
	self, err := procfs.ReadStat(os.Getpid())
	if err != nil {
		return false
	}
	parent, err := procfs.ReadStat(self.PPID)
	return err == nil && parent.SID == self.SID && parent.PGID != self.PGID
}
