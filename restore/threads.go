package restore

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/crtrace/crtrace/snapshot"
	"github.com/crtrace/crtrace/tracer"
	"golang.org/x/sys/unix"
)

// sigaltstack's flags.
const (
	ssOnStack = 1
	ssDisable = 2
)

// setThreadAttributes sets what belongs to each thread.
func (p *process) setThreadAttributes() error {
	for i := range p.image.Threads {
		t, th := &p.image.Threads[i], p.threads[i]
		if err := p.setThread(t, th); err != nil {
			return fmt.Errorf("thread %d: %w", t.TID, err)
		}
		if err := p.setSched(t, th.TID); err != nil {
			return fmt.Errorf("thread %d: %w", t.TID, err)
		}
	}
	return nil
}

// setThread makes the calls that a thread must make itself.
func (p *process) setThread(t *snapshot.Thread, th *tracer.StubThread) error {
	s := newScript(p.stub, th)
	s.add("set_tid_address", unix.SYS_SET_TID_ADDRESS, uint64(t.ClearTID))
	if l := t.RobustList; l.Head != 0 {
		s.add("set_robust_list", unix.SYS_SET_ROBUST_LIST, uint64(l.Head), uint64(l.Size))
	}
	if r := t.RSeq; r.Pointer != 0 {
		s.add("rseq", unix.SYS_RSEQ, uint64(r.Pointer), uint64(r.Size), 0, uint64(r.Signature))
	}
	if a := t.AltStack; a.Flags&ssDisable == 0 && a.Size != 0 {
		b := binary.LittleEndian.AppendUint64(nil, uint64(a.Base))
		b = binary.LittleEndian.AppendUint64(b, uint64(a.Flags)&^ssOnStack)
		b = binary.LittleEndian.AppendUint64(b, uint64(a.Size))
		s.add("sigaltstack", unix.SYS_SIGALTSTACK, s.bytes(b), 0)
	}
	s.add("PR_SET_NAME", unix.SYS_PRCTL, unix.PR_SET_NAME, s.text(t.Comm), 0, 0, 0)
	if t.TimerSlack > 0 {
		s.add("PR_SET_TIMERSLACK", unix.SYS_PRCTL, unix.PR_SET_TIMERSLACK, uint64(t.TimerSlack), 0, 0, 0)
	}
	if t.DeathSignal != 0 {
		s.add("PR_SET_PDEATHSIG", unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uint64(t.DeathSignal), 0, 0, 0)
	}
	if p.run.plan.o.Inside {
		p.dropCapabilities(s)
	}
	if err := s.run(); err != nil {
		return err
	}
	if !p.image.Compat {
		return nil
	}
	if l := t.RobustListCompat; l.Head != 0 {
		const setRobustList32 = 311
		if _, err := th.Call32(setRobustList32, uint64(l.Head), uint64(l.Size)); err != nil {
			return fmt.Errorf("set_robust_list: %w", err)
		}
	}
	for _, d := range t.TLS {
		if err := th.SetThreadArea(d.Entry, uint32(d.Base), uint32(d.Limit), uint32(d.Flags)); err != nil {
			return err
		}
	}
	return nil
}

// dropCapabilities takes away what the thread has inherited from the init of its
// namespace: the program never had it.
func (p *process) dropCapabilities(s *script) {
	const version3 = 0x20080522 // _LINUX_CAPABILITY_VERSION_3
	header := binary.LittleEndian.AppendUint32(nil, version3)
	header = binary.LittleEndian.AppendUint32(header, 0) // this thread
	s.add("PR_CAP_AMBIENT_CLEAR_ALL", unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
	s.room(64)
	s.add("capset", unix.SYS_CAPSET, s.bytes(header), s.bytes(make([]byte, 24)))
}

// setSched sets the scheduling attributes. What this host or user does not allow
// is a warning: the program runs, perhaps slower.
func (p *process) setSched(t *snapshot.Thread, tid int) error {
	have, err := unix.SchedGetAttr(tid, 0)
	if err != nil {
		return fmt.Errorf("sched_getattr: %w", err)
	}
	want := unix.SchedAttr{
		Size: unix.SizeofSchedAttr, Policy: uint32(t.Sched.Policy), Flags: uint64(t.Sched.Flags),
		Nice: int32(t.Sched.Nice), Priority: uint32(t.Sched.Priority),
		Runtime: t.Sched.Runtime, Deadline: t.Sched.Deadline, Period: t.Sched.Period,
	}
	if have.Policy != want.Policy || have.Nice != want.Nice || have.Priority != want.Priority || have.Flags != want.Flags {
		if err := unix.SchedSetAttr(tid, &want, 0); err != nil {
			p.run.warn("thread %d: scheduling policy %d, nice %d: %v", t.TID, t.Sched.Policy, t.Sched.Nice, err)
		}
	}
	if err := setAffinity(tid, t.Affinity); err != nil {
		p.run.warn("thread %d: none of the CPUs that it was bound to is available here", t.TID)
	}
	if t.IOPriority != 0 {
		if err := setIOPriority(tid, t.IOPriority); err != nil && !errors.Is(err, unix.ENOSYS) {
			p.run.warn("thread %d: I/O priority: %v", t.TID, err)
		}
	}
	return nil
}
