package tracer

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/crtrace/crtrace/tracer/procfs"
	"golang.org/x/sys/unix"
)

// Freeze stops all threads of a process. On an error nothing stays stopped.
// Errors are *PermissionError, ErrTaskGone or *PtraceError. sleeps, which may be
// nil, knows of calls that were interrupted before.
func Freeze(pid int, sleeps *Sleeps) (*Process, error) {
	p := &Process{PID: pid, sleeps: sleeps}
	slept := sampleSleepers(pid)
	err := p.stopAll()
	if err == nil { // not before: an execve on the way changes the address space
		p.Mem, err = OpenMemory(pid)
	}
	if err != nil {
		return nil, errors.Join(explain(pid, err), p.Release())
	}
	if err := p.finishWaysBack(); err != nil {
		return nil, errors.Join(err, p.Release())
	}
	p.Frozen = time.Now()
	for _, t := range p.Tasks {
		if err := t.look(slept); err != nil {
			return nil, errors.Join(err, p.Release())
		}
	}
	return p, nil
}

// stopAll seizes and stops threads until a look at the process finds no new
// one. Threads that are not stopped yet may start others meanwhile.
func (p *Process) stopAll() error {
	known := map[int]bool{}
	for {
		tids, err := procfs.Tasks(p.PID)
		if err != nil {
			return err
		}
		var fresh []*Task
		for _, tid := range tids {
			if known[tid] {
				continue
			}
			known[tid] = true
			t := &Task{TID: tid, proc: p}
			switch err := t.seize(); {
			case err == nil && t.belongs():
				fresh = append(fresh, t)
			case err == nil:
				if err := t.letGo(); err != nil {
					return err
				}
			case errors.Is(err, ErrTaskGone) && !t.leader():
			case errors.Is(err, syscall.EPERM) && (!t.belongs() || ended(p.PID, tid)):
			default:
				return err
			}
		}
		if len(fresh) == 0 {
			return p.settle()
		}
		for _, t := range fresh {
			p.Tasks = append(p.Tasks, t)
			if err := t.awaitStop(); err != nil {
				return err
			}
		}
	}
}

// settle orders the stopped threads and drops those that ended on the way.
func (p *Process) settle() error {
	p.Tasks = slices.DeleteFunc(p.Tasks, func(t *Task) bool { return t.at.kind == stopGone })
	slices.SortFunc(p.Tasks, func(a, b *Task) int {
		switch {
		case a.leader():
			return -1
		case b.leader():
			return 1
		}
		return a.TID - b.TID
	})
	if len(p.Tasks) == 0 || !p.Tasks[0].leader() {
		p.gone = true
		return fmt.Errorf("process %d: %w", p.PID, ErrTaskGone)
	}
	for _, t := range p.Tasks {
		if t.at.kind == stopGroup {
			p.Stopped = t.at.sig
		}
	}
	return nil
}

// finishWaysBack lets threads that a killed tracer has left inside the parasite
// finish their way back to the program: what they show is not the program's state.
func (p *Process) finishWaysBack() error {
	maps, err := procfs.ReadMaps(p.PID)
	if err != nil {
		return err
	}
	room, err := findRoom(maps, p.Mem)
	if err != nil {
		return nil // without a vdso nobody has been inside
	}
	for _, t := range p.Tasks {
		const attempts = 100
		for i := 0; ; i++ {
			r, err := getRegs(t.TID)
			if err != nil {
				return err
			}
			if r.Rip < room.Start || r.Rip >= room.Start+codeLen {
				break
			}
			if i == attempts {
				return fmt.Errorf("task %d does not leave what an earlier crtrace has left in the program; try again", t.TID)
			}
			if err := t.runBriefly(); err != nil {
				return err
			}
		}
	}
	return nil
}

// runBriefly lets the thread run for a moment.
func (t *Task) runBriefly() error {
	if err := resume(unix.PTRACE_CONT, t.TID, 0); err != nil {
		return err
	}
	pause := unix.NsecToTimespec(int64(50 * time.Microsecond))
	_ = unix.Nanosleep(&pause, nil) // a shorter pause does no harm
	if err := interrupt(t.TID); err != nil {
		return err
	}
	t.at = stop{}
	return t.awaitStop()
}

// belongs tells whether the thread is one of the process. A thread may end after
// it was listed, and its id may be somebody else's a moment later, even ours.
func (t *Task) belongs() bool {
	return !errors.Is(unix.Tgkill(t.proc.PID, t.TID, 0), syscall.ESRCH)
}

// letGo detaches a task of somebody else, which must be stopped for that.
func (t *Task) letGo() error {
	if err := t.awaitStop(); err != nil {
		return err
	}
	if err := detach(t.TID, 0); err != nil && !errors.Is(err, ErrTaskGone) {
		return err
	}
	return nil
}

// tracerPatience is how long, in milliseconds, a tracer that is being killed may
// take to let a thread go.
const tracerPatience = 500

// tracerEnds tells whether a thread's tracer is on its way out, or has just gone.
func tracerEnds(pid, tid int) bool {
	status, err := procfs.ReadTaskStatus(pid, tid)
	if err != nil {
		return false
	}
	return status.TracerPid == 0 && !ended(pid, tid) || status.TracerPid != 0 && Ending(status.TracerPid)
}

// Ending tells whether a process is exiting or gone.
func Ending(pid int) bool {
	const exiting = 0x4 // PF_EXITING
	s, err := procfs.ReadStat(pid)
	return err != nil || s.State == 'Z' || s.State == 'X' || s.Flags&exiting != 0
}

// ended tells whether a thread can't be seized because it is no more.
func ended(pid, tid int) bool {
	s, err := procfs.ReadTaskStat(pid, tid)
	return err != nil || s.State == 'Z' || s.State == 'X'
}

// seize attaches to the thread and asks it to stop. A thread that is in a group
// stop already reports that by itself; an interrupt would queue a second stop
// there, which swallows the first injected call.
func (t *Task) seize() error {
	err := seize(t.TID, unix.PTRACE_O_TRACESYSGOOD)
	for range tracerPatience {
		if !errors.Is(err, syscall.EPERM) || !tracerEnds(t.proc.PID, t.TID) {
			break
		}
		pause := unix.NsecToTimespec(int64(time.Millisecond))
		_ = unix.Nanosleep(&pause, nil) // a shorter pause does no harm
		err = seize(t.TID, unix.PTRACE_O_TRACESYSGOOD)
	}
	if err != nil {
		return err
	}
	s, err := poll(t.TID, t.leader())
	if err != nil {
		return err
	}
	if t.at = s; s.kind != stopNone {
		return nil
	}
	t.interrupted = time.Now()
	return interrupt(t.TID)
}

// awaitStop waits until the thread has stopped. A signal that was on its way
// is delivered first: the thread then stops at the handler's first instruction.
// Its stop has swallowed the interrupt (ptrace_stop clears JOBCTL_TRAP_STOP), so
// another one is needed; seen with Go programs, which send themselves SIGURG.
func (t *Task) awaitStop() error {
	for t.at.kind != stopTrap && t.at.kind != stopGroup && t.at.kind != stopGone {
		if t.at.kind != stopNone {
			err := interrupt(t.TID)
			if err == nil {
				err = resume(unix.PTRACE_CONT, t.TID, t.at.sig)
			}
			if err != nil && !errors.Is(err, ErrTaskGone) {
				return err
			}
		}
		s, err := t.waitBriefly()
		if err != nil {
			return err
		}
		t.at = s
	}
	return nil
}

// stopPatience is how long a thread may take to stop. A thread that waits for a
// disk or a file server can't be interrupted, and all others stand still
// meanwhile.
const stopPatience = 10 * time.Second

// waitBriefly is wait with a time limit.
func (t *Task) waitBriefly() (stop, error) {
	end := time.Now().Add(stopPatience)
	for i := 0; ; i++ {
		s, err := poll(t.TID, t.leader())
		if err != nil || s.kind != stopNone {
			return s, err
		}
		switch {
		case !idle(i):
		case t.leader() && ended(t.TID, t.TID):
			return stop{kind: stopGone}, nil
		case time.Now().After(end):
			return s, fmt.Errorf("task %d does not stop: it waits in the kernel (%s); try again when its disk or file server answers",
				t.TID, readWchan(t.proc.PID, t.TID))
		}
	}
}
