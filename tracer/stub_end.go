package tracer

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/crtrace/crtrace/parasite"
	"github.com/crtrace/crtrace/regs"
	"golang.org/x/sys/unix"
)

// Discard ends a process that has no part in what is rebuilt and leaves nothing
// of it behind.
func (s *Stub) Discard() error {
	if err := s.Kill(); err != nil {
		return err
	}
	if err := Reap(s.PID); err != nil {
		return err
	}
	if s.parent == nil {
		return nil
	}
	// The tracer has seen the end; the real parent is told only now.
	if _, err := s.parent.leader.Call(unix.SYS_WAIT4, uint64(s.PID), 0, 0, 0); err != nil {
		return fmt.Errorf("wait for process %d: %w", s.PID, err)
	}
	return nil
}

// ReapThreads collects the ends of all threads but the leader, after Kill: the
// leader's own is not reported before.
func (s *Stub) ReapThreads() error {
	var errs []error
	for _, tid := range s.threads {
		errs = append(errs, Reap(tid))
	}
	return errors.Join(errs...)
}

// End ends the process in the way that a zombie had ended, and leaves it as a
// zombie to its parent: with an exit status, or by a signal if that is not 0.
func (s *Stub) End(status int, sig syscall.Signal) error {
	defer s.Mem.Close()
	var none unix.Rlimit
	if err := unix.Prlimit(s.PID, unix.RLIMIT_CORE, &none, nil); err != nil {
		return err
	}
	t := s.leader
	if sig != 0 {
		if err := s.defaultAction(sig); err != nil {
			return err
		}
	}
	entry := areaCode + uint64(parasite.Call().Entry)
	if err := t.start(unix.SYS_EXIT_GROUP, entry, func(r *regs.AMD64) { r.Rdi = uint64(status) }); err != nil {
		return err
	}
	if sig != 0 { // delivered before the call is reached
		if err := unix.Kill(s.PID, sig); err != nil {
			return fmt.Errorf("send %v to process %d: %w", sig, s.PID, err)
		}
	}
	deliver := syscall.Signal(0)
	for {
		if err := resume(unix.PTRACE_CONT, s.PID, deliver); err != nil {
			return err
		}
		st, err := wait(s.PID, true)
		switch {
		case err != nil:
			return err
		case st.kind == stopGone:
			return Reap(s.PID)
		case st.kind == stopSignal:
			deliver = st.sig
		default:
			deliver = 0
		}
	}
}

// defaultAction makes a signal do what it does by default: the stub has inherited
// what our caller ignores.
func (s *Stub) defaultAction(sig syscall.Signal) error {
	if sig == unix.SIGKILL || sig == unix.SIGSTOP {
		return nil
	}
	data, _ := s.Data()
	if err := s.Mem.Write(data, make([]byte, 32)); err != nil { // SIG_DFL, no flags, no mask
		return err
	}
	_, err := s.leader.Call(unix.SYS_RT_SIGACTION, uint64(sig), data, 0, 8)
	return err
}
