package restore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/crtrace/crtrace/regs"
	"github.com/crtrace/crtrace/snapshot"
	"github.com/crtrace/crtrace/tracer"
	"github.com/crtrace/crtrace/tracer/procfs"
	"golang.org/x/sys/unix"
)

// finish does what comes last: timers, pending signals, the interrupted calls
// and the registers. After it the process only waits to be released.
func (p *process) finish() error {
	for _, step := range []func() error{
		p.lastAttributes, p.makeTimers, p.setTrapAction, p.blockSignals, p.startTimers, p.queueSignals,
	} {
		if err := step(); err != nil {
			return fmt.Errorf("process %d: %w", p.image.PID, err)
		}
	}
	states := make([]tracer.State, len(p.threads))
	for i := range p.threads {
		var err error
		if states[i], err = p.stateOf(i); err != nil {
			return fmt.Errorf("thread %d: %w", p.image.Threads[i].TID, err)
		}
	}
	if err := p.stub.Unmap(); err != nil {
		return fmt.Errorf("process %d: remove the work area: %w", p.image.PID, err)
	}
	for i, th := range p.threads {
		if err := th.SetState(states[i]); err != nil {
			return fmt.Errorf("thread %d: %w", p.image.Threads[i].TID, err)
		}
		if c := p.image.Threads[i].Call; c != nil && c.Block && c.Remaining >= 0 {
			p.noteSleep(th.TID, states[i].Regs, time.Duration(c.Remaining))
		}
	}
	return nil
}

// noteSleep remembers when a thread's call ends.
func (p *process) noteSleep(tid int, r regs.AMD64, left time.Duration) {
	sleeps := p.run.plan.o.Sleeps
	if sleeps == nil {
		return
	}
	if s, err := procfs.ReadSched(p.stub.PID, tid); err == nil {
		sleeps.Note(tid, r, left, s.Voluntary)
	}
}

// stateOf returns the state that a thread goes on with. A call whose time-out
// the kernel had kept is issued with what was left, and interrupted, so that the
// kernel keeps it again.
func (p *process) stateOf(i int) (tracer.State, error) {
	t := &p.image.Threads[i]
	xstate, err := p.broker.im.XState(t.XState)
	if err != nil {
		return tracer.State{}, err
	}
	s := tracer.State{Regs: t.Regs, XState: xstate, Layout: p.run.m.Host.XState, Mask: uint64(t.Mask)}
	if t.Call == nil || t.Call.Remaining < 0 {
		return s, nil
	}
	if !t.Call.Block {
		return s, p.placeTimeout(t, &s.Regs)
	}
	block, err := p.blocked(t)
	if err != nil || block == nil {
		return s, err
	}
	rax, err := p.threads[i].Block(*block)
	if err != nil {
		return s, err
	}
	s.Regs.Rip += 2 // behind the instruction, where the interrupted thread stood
	s.Regs.Rax, s.Regs.OrigRax = rax, uint64(t.Call.Number)
	return s, nil
}

// placeTimeout lets a call whose time-out lies in memory find the rest of it in
// the vdso's last page. See package tracer for why there.
func (p *process) placeTimeout(t *snapshot.Thread, r *regs.AMD64) error {
	arg, ok := tracer.TimeoutPointer(t.Call.Number, p.image.Compat)
	if !ok {
		return nil
	}
	if p.timeouts == nil {
		places, err := tracer.TimeoutPlaces(p.stub.PID, p.stub.Mem)
		if err != nil {
			return err
		}
		p.timeouts = places
	}
	if len(p.timeouts) > 0 {
		at := p.timeouts[0]
		p.timeouts = p.timeouts[1:]
		data := tracer.EncodeTimeout(t.Call.Number, p.image.Compat, time.Duration(t.Call.Remaining))
		tracer.SetArgument(r, arg, at)
		return p.stub.Mem.Write(at, data)
	}
	p.run.warn("thread %d: %s waits its full time again", t.TID, t.Call.Name)
	return nil
}

// blocked returns the call with the rest of its time-out in place of the whole.
func (p *process) blocked(t *snapshot.Thread) (*tracer.Blocked, error) {
	r := &t.Regs
	b := &tracer.Blocked{NR: t.Call.Number, Compat: p.image.Compat}
	if b.Compat {
		b.Args = [6]uint64{r.Rbx, r.Rcx, r.Rdx, r.Rsi, r.Rdi, r.Rbp}
	} else {
		b.Args = [6]uint64{r.Rdi, r.Rsi, r.Rdx, r.R10, r.R8, r.R9}
	}
	data, _ := p.stub.Data()
	spec := func(arg int, wide bool) error {
		var buf []byte
		sec, nsec := t.Call.Remaining/1e9, t.Call.Remaining%1e9
		if wide {
			buf = binary.LittleEndian.AppendUint64(buf, uint64(sec))
			buf = binary.LittleEndian.AppendUint64(buf, uint64(nsec))
		} else {
			buf = binary.LittleEndian.AppendUint32(buf, uint32(sec))
			buf = binary.LittleEndian.AppendUint32(buf, uint32(nsec))
		}
		b.Args[arg] = data
		return p.stub.Mem.Write(data, buf)
	}
	switch t.Call.Name {
	case "poll":
		const milli = 1e6
		b.Args[2] = uint64((t.Call.Remaining + milli - 1) / milli)
		return b, nil
	case "nanosleep":
		return b, spec(0, !b.Compat)
	case "clock_nanosleep":
		return b, spec(2, !b.Compat)
	case "clock_nanosleep_time64":
		return b, spec(2, true)
	case "futex":
		return b, spec(3, !b.Compat)
	case "futex_time64":
		return b, spec(3, true)
	}
	return nil, nil
}

// stop stops the process as it was stopped by a signal. Its parent, which has not
// been finished yet, takes note of that once more if it had done so: it must not
// hear of it a second time. The signal for it comes to nothing, as the parent
// does not exist yet.
func (p *process) stop() error {
	if err := p.stub.Stop(syscall.Signal(p.image.Stopped)); err != nil {
		return err
	}
	parent := p.run.stubs[p.image.PPID]
	if parent == nil || !p.image.StopReported {
		return nil
	}
	_, err := parent.Leader().Call(unix.SYS_WAITID, unix.P_PID, uint64(p.stub.PID), 0, unix.WSTOPPED|unix.WNOHANG, 0)
	if err != nil {
		return fmt.Errorf("wait for its stop: %w", err)
	}
	return nil
}

// finishAll completes all processes. Those that are stopped come first, children
// before parents.
func (r *run) finishAll() error {
	for _, p := range slices.Backward(r.processes) {
		if p.image.Stopped == 0 {
			continue
		}
		err := p.finish()
		if err == nil {
			err = p.stop()
		}
		if err != nil {
			return fmt.Errorf("process %d: %w", p.image.PID, err)
		}
	}
	for _, p := range r.processes {
		if p.image.Stopped != 0 {
			continue
		}
		if err := p.finish(); err != nil {
			return err
		}
	}
	return nil
}

// release lets everybody go: first all bonds to our own life are cut, then those
// who were stopped go back to that, so that no parent sees them in another state.
func (r *run) release() error {
	for _, p := range r.processes {
		if err := p.stub.Keep(p.threads); err != nil {
			return err
		}
	}
	var errs []error
	for _, stopped := range []bool{true, false} {
		for _, p := range r.processes {
			if (p.image.Stopped != 0) != stopped {
				continue
			}
			if err := p.stub.Release(p.threads); err != nil {
				errs = append(errs, fmt.Errorf("let process %d go: %w", p.image.PID, err))
			}
			if stopped {
				procfs.AwaitStopped(p.stub.PID, stopPatience)
			}
		}
	}
	return errors.Join(errs...)
}

// stopPatience is how long a stopped process that is let go may take to be stopped
// again. It takes microseconds, unless somebody has continued it.
const stopPatience = 100 * time.Millisecond
