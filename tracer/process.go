package tracer

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/crtrace/crtrace/regs"
	"github.com/crtrace/crtrace/tracer/procfs"
	"golang.org/x/sys/unix"
)

// Process is a process whose threads this tracer has stopped. It is made by
// Freeze and must be let go by Release or Kill.
type Process struct {
	PID     int
	Tasks   []*Task // the leader first, then in the order of their ids
	Mem     *Memory
	Stopped syscall.Signal // the signal that had stopped the process before, 0 when it ran
	Frozen  time.Time      // when the last thread stopped

	resend []syscall.Signal // stop signals that came while the tracer worked
	sleeps *Sleeps
	gone   bool
}

// Task is one stopped thread.
type Task struct {
	TID  int
	proc *Process

	regs        regs.AMD64 // as the program must get them back
	mask        uint64
	rseq        RSeq
	call        *Interruption
	at          stop      // what the task was reported in last
	interrupted time.Time // when it was asked to stop
	timeout     uint64    // where the rest of the call's time-out lies, 0: where the program has the whole
	slot, back  uint64    // in the parasite: its slot, and where its way back begins
	injected    bool      // the kernel's registers are not the program's at the moment
}

// Leader returns the thread whose id is the process id.
func (p *Process) Leader() *Task { return p.Tasks[0] }

// Regs returns the program's registers as they were when the thread stopped.
func (t *Task) Regs() regs.AMD64 { return t.regs }

// Mask returns the set of blocked signals; inside a call that replaces it for
// its duration (ppoll, sigsuspend), the one that comes back afterwards.
func (t *Task) Mask() uint64 { return t.mask }

// RSeq returns the registration of restartable sequences.
func (t *Task) RSeq() RSeq { return t.rseq }

// Call returns what the thread was interrupted in, nil when in nothing that has
// to be issued again.
func (t *Task) Call() *Interruption { return t.call }

// XState returns the extended state in the kernel's standard format.
func (t *Task) XState() ([]byte, error) { return getXState(t.TID) }

// Pending returns the raw siginfo of the signals that wait for the thread, or
// for the whole process when shared.
func (t *Task) Pending(shared bool) ([][siginfoSize]byte, error) { return peekSiginfo(t.TID, shared) }

// ThreadArea returns one GDT entry of a 32-bit thread: entry number, base,
// limit and flags as in struct user_desc.
func (t *Task) ThreadArea(entry int) (base, limit, flags uint32, err error) {
	d, err := getThreadArea(t.TID, uint32(entry))
	return d.Base, d.Limit, d.Flags, err
}

func (t *Task) leader() bool { return t.TID == t.proc.PID }

// look reads the state of a thread that has just stopped.
func (t *Task) look(slept sleepers) error {
	var err error
	if t.regs, err = getRegs(t.TID); err != nil {
		return err
	}
	if t.mask, err = getSigMask(t.TID); err != nil {
		return err
	}
	if t.rseq, err = getRSeq(t.TID); err != nil {
		return err
	}
	if err := t.leaveCriticalSection(); err != nil {
		return err
	}
	t.undoRestart()
	genuine := false
	if t.regs.InSyscall() && -int64(int32(t.regs.Rax)) == int64(unix.EINTR) {
		if genuine, err = t.signalWaits(); err != nil {
			return err
		}
	}
	if t.call = interruption(&t.regs, genuine); t.call != nil {
		t.lookAtCall(slept)
	}
	return nil
}

// lookAtCall finds out what the interrupted call is and what is left of its
// time-out.
func (t *Task) lookAtCall(slept sleepers) {
	again := t.call.Block && isRestart(&t.regs)
	if again {
		nr, ok := originalCall(&t.regs, t.proc.Mem, slept.wchan[t.TID])
		if !ok {
			return
		}
		t.call.setNumber(nr, t.regs.Compat())
	}
	t.call.measure(&t.regs, t.proc.Mem, func() time.Duration { return slept.elapsed(t) })
	if !again || t.call.Remaining < 0 {
		return
	}
	// What was measured counts from the last interruption only.
	t.call.Exact = false
	if left := t.proc.sleeps.left(t.TID, t.regs, voluntarySwitches(t)); left >= 0 {
		t.call.Remaining, t.call.Exact = min(left, t.call.Remaining), true
	}
}

// signalWaits tells whether a signal is about to be delivered to the thread: it
// is pending, not blocked at this moment, and the program has a handler for it.
func (t *Task) signalWaits() (bool, error) {
	s, err := procfs.ReadTaskStatus(t.proc.PID, t.TID)
	if err != nil {
		return false, err
	}
	return (s.SigPnd|s.ShdPnd)&^s.SigBlk&s.SigCgt != 0, nil
}

// resumption returns the registers with which the thread goes on in its own
// process. Calls that the kernel restarts by itself are left to it: it still has
// their restart block.
func (t *Task) resumption() regs.AMD64 {
	if t.call == nil || -int64(int32(t.regs.Rax)) != int64(unix.EINTR) {
		return t.regs
	}
	r := Rewind(t.regs)
	t.call.shorten(&r, t.call.Remaining-time.Since(t.proc.Frozen))
	if t.timeout != 0 {
		*args(&r)[t.call.info.arg] = t.timeout
	}
	return r
}

// ImageRegs returns the registers with which the thread goes on in another
// process, where no kernel remembers the interrupted call: the call is issued
// again, with the rest of its time-out where that is a number.
func (t *Task) ImageRegs() regs.AMD64 {
	if t.call == nil {
		r := t.regs
		r.OrigRax = ^uint64(0)
		return r
	}
	r := t.regs
	r.OrigRax = uint64(t.call.NR)
	r = Rewind(r)
	if !t.call.Block {
		t.call.shorten(&r, t.call.Remaining)
	}
	return r
}

// Release lets the process go on where it was.
func (p *Process) Release() error {
	var errs []error
	if p.Mem != nil { // nil when Freeze has failed early
		defer p.Mem.Close()
	}
	if p.gone {
		return nil
	}
	if err := errors.Join(p.placeTimeouts(), p.passTime()); err != nil {
		errs = append(errs, err) // the calls wait longer then
	}
	for _, t := range p.Tasks {
		if err := t.restore(); err != nil && !errors.Is(err, ErrTaskGone) {
			errs = append(errs, err)
		}
		if c := t.call; c != nil && c.Block && c.Remaining >= 0 && p.sleeps != nil {
			left := c.Remaining - time.Since(p.Frozen)
			p.sleeps.Note(t.TID, t.regs, left, voluntarySwitches(t))
		}
	}
	for _, sig := range p.resend {
		if err := unix.Kill(p.PID, sig); err != nil {
			errs = append(errs, fmt.Errorf("send %v to process %d again: %w", sig, p.PID, err))
		}
	}
	for _, t := range p.Tasks {
		if err := detach(t.TID, 0); err != nil && !errors.Is(err, ErrTaskGone) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Kill ends the process and waits until all its threads are gone. The leader's
// exit is left for its parent.
func (p *Process) Kill() error {
	defer p.Mem.Close()
	if err := unix.Kill(p.PID, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill process %d: %w", p.PID, err)
	}
	for _, t := range slices.Backward(p.Tasks) { // the leader is reported last
		for {
			s, err := wait(t.TID, t.leader())
			if err != nil {
				return err
			}
			if s.kind == stopGone {
				break
			}
		}
	}
	return nil
}

// restore puts the thread's registers right, so that it can be detached.
func (t *Task) restore() error {
	r := t.resumption()
	if !t.injected && r == t.regs {
		return nil
	}
	if t.injected {
		// The kernel looks for a call to restart only on its way out of a
		// signal stop; after an injected call the thread stands elsewhere, and
		// the program would see the bare error number.
		if t.regs.InSyscall() {
			if err := t.signalStop(); err != nil {
				return err
			}
		}
		if err := t.turnBack(t.mask); err != nil {
			return err
		}
	}
	if err := setRegs(t.TID, &r); err != nil {
		return err
	}
	t.injected = false
	return nil
}

// turnBack changes the signal mask of a thread that is inside the parasite. With
// signals open it must not stand where the stack pointer is not the program's, and
// with signals blocked not where the program goes on: so it stands at the
// beginning of the way back meanwhile.
func (t *Task) turnBack(mask uint64) error {
	r := t.resumption()
	r.Cs, r.Ss = regs.UserCS64, regs.UserSS
	r.Rip, r.Rbp = t.back, t.slot
	r.OrigRax = ^uint64(0)
	if err := setRegs(t.TID, &r); err != nil {
		return err
	}
	return setSigMask(t.TID, mask)
}

// signalStop brings the thread from a syscall stop to the stop of an interrupt,
// without letting it run an instruction.
func (t *Task) signalStop() error {
	if err := interrupt(t.TID); err != nil {
		return err
	}
	if err := resume(unix.PTRACE_CONT, t.TID, 0); err != nil {
		return err
	}
	for {
		s, err := wait(t.TID, t.leader())
		if err != nil {
			return err
		}
		switch s.kind {
		case stopTrap, stopGroup:
			t.at = s
			return nil
		case stopGone:
			t.proc.gone = t.proc.gone || t.leader()
			return fmt.Errorf("task %d: %w", t.TID, ErrTaskGone)
		case stopSignal:
			t.hold(s.sig)
		}
		if err := interrupt(t.TID); err != nil { // another stop swallows it
			return err
		}
		if err := resume(unix.PTRACE_CONT, t.TID, 0); err != nil {
			return err
		}
	}
}

// hold keeps a signal that can't be blocked (SIGSTOP) until the process is let go.
func (t *Task) hold(sig syscall.Signal) { t.proc.resend = append(t.proc.resend, sig) }
