package tracer

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/crtrace/crtrace/parasite"
	"github.com/crtrace/crtrace/regs"
	"golang.org/x/sys/unix"
)

// State is what a thread of a stub goes on with.
type State struct {
	Regs   regs.AMD64
	XState []byte // in the standard format of the processor that Layout tells of
	Layout []regs.XComponent
	Mask   uint64
}

// Blocked is a system call that a thread shall be found in.
type Blocked struct {
	NR     int
	Args   [6]uint64
	Compat bool // of the 32-bit table
}

// Block lets the thread issue a call that waits for a relative time, and
// interrupts it at once, so that the kernel holds what it needs to go on with
// the call (the restart block), as it did in the original process. It returns
// the value that the thread's rax must have with the original orig_rax: the
// kernel's request for a restart, or a result when the call did not wait.
func (t *StubThread) Block(c Blocked) (uint64, error) {
	entry, order := uint64(parasite.Call().Entry), args64
	if c.Compat {
		entry, order = uint64(parasite.Call().Entry32), args32
	}
	err := t.start(c.NR, areaCode+entry, func(r *regs.AMD64) {
		for i, at := range order(r) {
			*at = c.Args[i]
		}
	})
	if err != nil {
		return 0, err
	}
	if err := t.step(); err != nil { // stands at the entry
		return 0, err
	}
	if err := t.toSignalStop(); err != nil {
		return 0, err
	}
	r, err := getRegs(t.TID)
	return r.Rax, err
}

// toSignalStop lets the thread finish the call that it is in, and stops it on
// its way out.
func (t *StubThread) toSignalStop() error {
	for {
		if err := interrupt(t.TID); err != nil { // again after another stop, which swallows it
			return err
		}
		if err := resume(unix.PTRACE_CONT, t.TID, 0); err != nil {
			return err
		}
		s, err := wait(t.TID, t.TID == t.stub.PID)
		switch {
		case err != nil:
			return err
		case s.kind == stopTrap || s.kind == stopGroup:
			return nil
		case s.kind == stopGone:
			return fmt.Errorf("task %d: %w", t.TID, ErrTaskGone)
		}
	}
}

// BlockSignals blocks all signals of the thread until SetState.
func (t *StubThread) BlockSignals() error { return setSigMask(t.TID, ^uint64(0)) }

// UnblockSignals opens all signals again.
func (t *StubThread) UnblockSignals() error { return setSigMask(t.TID, 0) }

// SetThreadArea sets one GDT entry of a 32-bit thread.
func (t *StubThread) SetThreadArea(entry, base, limit, flags uint32) error {
	d := userDesc{entry, base, limit, flags}
	return requestPtr(unix.PTRACE_SET_THREAD_AREA, "PTRACE_SET_THREAD_AREA", t.TID, uintptr(entry), &d)
}

// SetState gives the thread the state that it will go on with. The thread must
// make no call after it.
func (t *StubThread) SetState(s State) error {
	if s.Regs.InSyscall() { // the kernel restarts calls only on the way out of a signal stop
		if err := t.toSignalStop(); err != nil {
			return err
		}
	}
	if err := t.setXState(s); err != nil {
		return err
	}
	if err := setSigMask(t.TID, s.Mask); err != nil {
		return err
	}
	return setRegs(t.TID, &s.Regs)
}

// setXState gives the thread its extended state, in the layout of this processor
// and with the length that this kernel wants, which is that of what the thread has.
func (t *StubThread) setXState(s State) error {
	have, err := getXState(t.TID)
	if err != nil {
		return err
	}
	here, err := HostXComponents()
	if err != nil {
		return err
	}
	state, err := regs.ConvertXState(s.XState, s.Layout, here, len(have))
	if err != nil {
		return fmt.Errorf("task %d: %w", t.TID, err)
	}
	return setXState(t.TID, state)
}

// Unmap removes the area, by a call of the leader. Nobody can make a call after it.
func (s *Stub) Unmap() error {
	_, err := s.leader.Call(unix.SYS_MUNMAP, s.Area, AreaLen)
	return err
}

// Keep ends the bond between the lives of the tracer and the process: until here
// the death of the one was the death of the other.
func (s *Stub) Keep(threads []*StubThread) error {
	var errs []error
	for _, t := range threads {
		errs = append(errs, setOptions(t.TID, 0))
	}
	return errors.Join(errs...)
}

// Release lets all threads go. One that is no more, for another process of the
// tree has ended it, is none of our business.
func (s *Stub) Release(threads []*StubThread) error {
	defer s.Mem.Close()
	var errs []error
	for _, t := range threads {
		if err := detach(t.TID, 0); err != nil && !errors.Is(err, ErrTaskGone) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Stop brings the process into a group stop by a stop signal: the leader takes it,
// the other threads stop as soon as they are let go. SetState must come before
// it, Release after it.
func (s *Stub) Stop(sig syscall.Signal) error {
	if err := unix.Tgkill(s.PID, s.PID, sig); err != nil {
		return fmt.Errorf("send %v to process %d: %w", sig, s.PID, err)
	}
	if err := resume(unix.PTRACE_CONT, s.PID, 0); err != nil {
		return err
	}
	for {
		st, err := wait(s.PID, true)
		switch {
		case err != nil:
			return err
		case st.kind == stopGroup:
			return nil
		case st.kind == stopGone:
			return fmt.Errorf("process %d: %w", s.PID, ErrTaskGone)
		}
		if err := resume(unix.PTRACE_CONT, s.PID, st.sig); err != nil {
			return err
		}
	}
}

// Reap collects the exit of a process that is a child of the caller.
func Reap(pid int) error {
	_, _, err := waitTask(pid, unix.WEXITED|unix.WALL)
	if errors.Is(err, unix.ECHILD) {
		return nil
	}
	return err
}
