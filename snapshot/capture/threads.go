package capture

import (
	"encoding/binary"
	"fmt"

	"github.com/crtrace/crtrace/snapshot"
	"github.com/crtrace/crtrace/tracer"
	"github.com/crtrace/crtrace/tracer/procfs"
	"golang.org/x/sys/unix"
)

// prGetTIDAddress is PR_GET_TID_ADDRESS.
const prGetTIDAddress = 40

// takeThreads collects all threads, the leader first.
func (t *target) takeThreads() error {
	for _, task := range t.proc.Tasks {
		th, err := t.takeThread(task)
		if err != nil {
			return fmt.Errorf("thread %d: %w", task.TID, err)
		}
		t.out.Threads = append(t.out.Threads, *th)
	}
	regs := t.proc.Leader().Regs()
	t.out.Compat = regs.Compat()
	return nil
}

func (t *target) takeThread(task *tracer.Task) (*snapshot.Thread, error) {
	state, err := task.XState()
	if err != nil {
		return nil, err
	}
	rseq := task.RSeq()
	th := &snapshot.Thread{
		TID: task.TID, Regs: task.ImageRegs(), Mask: snapshot.Hex(task.Mask()),
		RSeq: snapshot.RSeq{Pointer: snapshot.Hex(rseq.Pointer), Size: snapshot.Hex(rseq.Size), Signature: snapshot.Hex(rseq.Signature)},
	}
	if th.XState, err = t.w.AddXState(state); err != nil {
		return nil, err
	}
	if c := task.Call(); c != nil {
		th.Call = &snapshot.Call{Number: c.NR, Name: c.Name, Block: c.Block, Remaining: int64(c.Remaining), Exact: c.Exact}
	}
	if th.Comm, err = procfs.ReadComm(t.pid, task.TID); err != nil {
		return nil, err
	}
	pending, err := task.Pending(false)
	if err != nil {
		return nil, err
	}
	th.Pending = siginfos(pending)
	for _, step := range []func(*tracer.Task, *snapshot.Thread) error{
		t.takeAltStack, t.takeThreadAttributes, t.takeRobustLists, t.takeSched, t.takeTLS,
	} {
		if err := step(task, th); err != nil {
			return nil, err
		}
	}
	return th, nil
}

// takeAltStack collects the alternate signal stack.
func (t *target) takeAltStack(task *tracer.Task, th *snapshot.Thread) error {
	if _, err := t.remote.Call(task, unix.SYS_SIGALTSTACK, 0, t.remote.Area); err != nil {
		return err
	}
	b, err := t.fetch(24) // struct sigaltstack: base, flags, size
	th.AltStack = snapshot.AltStack{
		Base:  snapshot.Hex(binary.LittleEndian.Uint64(b)),
		Flags: snapshot.Hex(binary.LittleEndian.Uint32(b[8:])),
		Size:  snapshot.Hex(binary.LittleEndian.Uint64(b[16:])),
	}
	return err
}

// takeThreadAttributes collects what only the thread itself can ask for.
func (t *target) takeThreadAttributes(task *tracer.Task, th *snapshot.Thread) error {
	area := t.remote.Area
	if _, err := t.remote.Call(task, unix.SYS_PRCTL, prGetTIDAddress, area, 0, 0, 0); err != nil {
		return err
	}
	b, err := t.fetch(8)
	if err != nil {
		return err
	}
	th.ClearTID = snapshot.Hex(binary.LittleEndian.Uint64(b))
	slack, err := t.remote.Call(task, unix.SYS_PRCTL, unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil {
		return err
	}
	th.TimerSlack = int64(slack)
	if _, err := t.remote.Call(task, unix.SYS_PRCTL, unix.PR_GET_PDEATHSIG, area, 0, 0, 0); err != nil {
		return err
	}
	sig, err := t.fetch32()
	th.DeathSignal = int(sig)
	return err
}

// takeRobustLists collects the heads of the lists of robust futexes. A 32-bit
// program has its own, which only a 32-bit call shows.
func (t *target) takeRobustLists(task *tracer.Task, th *snapshot.Thread) error {
	head, size, err := getRobustList(task.TID)
	if err != nil {
		return err
	}
	th.RobustList = snapshot.RobustList{Head: snapshot.Hex(head), Size: snapshot.Hex(size)}
	if regs := task.Regs(); !regs.Compat() {
		return nil
	}
	const getRobustList32 = 312
	if _, err := t.remote.Call32(task, getRobustList32, 0, t.remote.Area, t.remote.Area+4); err != nil {
		return err
	}
	b, err := t.fetch(8)
	th.RobustListCompat = snapshot.RobustList{
		Head: snapshot.Hex(binary.LittleEndian.Uint32(b)),
		Size: snapshot.Hex(binary.LittleEndian.Uint32(b[4:])),
	}
	return err
}

// takeSched collects what the scheduler knows of the thread.
func (t *target) takeSched(task *tracer.Task, th *snapshot.Thread) error {
	attr, err := unix.SchedGetAttr(task.TID, 0)
	if err != nil {
		return fmt.Errorf("sched_getattr: %w", err)
	}
	th.Sched = snapshot.Sched{
		Policy: int(attr.Policy), Flags: snapshot.Hex(attr.Flags), Nice: int(attr.Nice), Priority: int(attr.Priority),
		Runtime: attr.Runtime, Deadline: attr.Deadline, Period: attr.Period,
	}
	if th.Affinity, err = getAffinity(task.TID); err != nil {
		return fmt.Errorf("sched_getaffinity: %w", err)
	}
	th.IOPriority, err = getIOPriority(task.TID)
	if err != nil {
		return fmt.Errorf("ioprio_get: %w", err)
	}
	return nil
}

// takeTLS collects the GDT entries that hold a 32-bit thread's local storage.
func (t *target) takeTLS(task *tracer.Task, th *snapshot.Thread) error {
	if regs := task.Regs(); !regs.Compat() {
		return nil
	}
	const first, last = 12, 14 // GDT_ENTRY_TLS_MIN, GDT_ENTRY_TLS_MAX
	for entry := first; entry <= last; entry++ {
		base, limit, flags, err := task.ThreadArea(entry)
		if err != nil {
			return err
		}
		th.TLS = append(th.TLS, snapshot.TLS{
			Entry: uint32(entry), Base: snapshot.Hex(base), Limit: snapshot.Hex(limit), Flags: snapshot.Hex(flags),
		})
	}
	return nil
}
