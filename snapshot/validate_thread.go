package snapshot

import (
	"encoding/binary"
	"fmt"
)

// Signals whose action can't be changed.
const (
	sigKill = 9
	sigStop = 19
)

// signals checks actions and pending signals of a process.
func (v *validator) signals(p *Process) error {
	seen := map[int]bool{sigKill: true, sigStop: true}
	for _, a := range p.Actions {
		if err := checkSignal(a.Signal, false); err != nil {
			return fmt.Errorf("action: %w", err)
		}
		if seen[a.Signal] {
			return fmt.Errorf("signal %d can't have this action, or has two", a.Signal)
		}
		seen[a.Signal] = true
	}
	return checkPending(p.Pending)
}

// checkPending checks queued signals. The number is there twice: what the
// program will see and what is shown must be the same.
func checkPending(pending []Siginfo) error {
	for i, s := range pending {
		if err := checkSignal(s.Signal, false); err != nil {
			return fmt.Errorf("pending signal %d: %w", i, err)
		}
		if len(s.Raw) != 128 {
			return fmt.Errorf("pending signal %d: siginfo of %d bytes, want 128", i, len(s.Raw))
		}
		if n := binary.LittleEndian.Uint32(s.Raw); n != uint32(s.Signal) {
			return fmt.Errorf("pending signal %d: its siginfo is of signal %d, not %d", i, n, s.Signal)
		}
	}
	return nil
}

// timers checks interval timers and POSIX timers.
func (v *validator) timers(p *Process) error {
	seen := map[int]bool{}
	for _, t := range p.ITimers {
		if t.Which < 0 || t.Which > 2 || seen[t.Which] {
			return fmt.Errorf("interval timer %d is not possible or there twice", t.Which)
		}
		seen[t.Which] = true
		if err := notNegative("a time", t.Value, t.Interval); err != nil {
			return fmt.Errorf("interval timer %d: %w", t.Which, err)
		}
	}
	ids, own := map[int]bool{}, map[int]bool{0: true}
	for _, t := range p.Threads {
		own[t.TID] = true
	}
	for _, t := range p.Timers {
		switch {
		case t.ID < 0 || ids[t.ID]:
			return fmt.Errorf("timer %d is not possible or there twice", t.ID)
		case t.Notify < 0 || t.Notify > 3:
			return fmt.Errorf("timer %d: notification %d", t.ID, t.Notify)
		case !own[t.TID]:
			return fmt.Errorf("timer %d: there is no thread %d", t.ID, t.TID)
		}
		ids[t.ID] = true
		if err := checkSignal(t.Signal, true); err != nil {
			return fmt.Errorf("timer %d: %w", t.ID, err)
		}
		if err := notNegative("a time or count", t.Value, t.Interval, int64(t.Overrun)); err != nil {
			return fmt.Errorf("timer %d: %w", t.ID, err)
		}
	}
	return nil
}

// threads checks the threads of a process, but for their ids.
func (v *validator) threads(p *Process) error {
	for i := range p.Threads {
		if err := v.thread(&p.Threads[i]); err != nil {
			return fmt.Errorf("thread %d: %w", p.Threads[i].TID, err)
		}
	}
	return nil
}

// thread checks one thread.
func (v *validator) thread(t *Thread) error {
	x, size := t.XState, v.m.XState.Size
	switch {
	case len(t.Comm) > 15:
		return fmt.Errorf("name %q is longer than 15 bytes", t.Comm)
	case x.Offset < 0 || x.Size < 0 || x.Offset > size || x.Size > size-x.Offset:
		return fmt.Errorf("%s has no %d bytes at %d", xstateName, x.Size, x.Offset)
	case t.Call != nil && (t.Call.Number < 0 || t.Call.Remaining < -1):
		return fmt.Errorf("system call %d with %d ns left", t.Call.Number, t.Call.Remaining)
	case len(t.TLS) > 3:
		return fmt.Errorf("%d entries of thread-local storage, at most 3 are possible", len(t.TLS))
	case t.RSeq.Pointer > maxAddress:
		return fmt.Errorf("restartable sequence at %v", t.RSeq.Pointer)
	case len(t.Affinity) > PageSize:
		return fmt.Errorf("CPU mask of %d bytes", len(t.Affinity))
	case t.TimerSlack < 0:
		return fmt.Errorf("timer slack %d", t.TimerSlack)
	}
	if err := checkSignal(t.DeathSignal, true); err != nil {
		return err
	}
	if s := t.Sched; s.Policy < 0 || s.Policy > 7 || s.Nice < -20 || s.Nice > 19 || s.Priority < 0 || s.Priority > 99 {
		return fmt.Errorf("scheduling policy %d, nice %d, priority %d", s.Policy, s.Nice, s.Priority)
	}
	if len(t.Pending) > maxCount {
		return fmt.Errorf("%d pending signals", len(t.Pending))
	}
	return checkPending(t.Pending)
}
