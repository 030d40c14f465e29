package restore

import (
	"fmt"
	"os"
	"strconv"

	"github.com/crtrace/crtrace/snapshot"
	"golang.org/x/sys/unix"
)

// Options of prctl that x/sys/unix does not name.
const (
	prSetMDWE        = 65
	prSetMemoryMerge = 67
	archReqXCompPerm = 0x1023
	xTileData        = 18
)

// setAttributes sets the attributes of the process that have a value each.
func (p *process) setAttributes() error {
	a := &p.image.Attributes
	s := newScript(p.stub, p.stub.Leader())
	prctl := func(what string, option, value uint64) { s.add(what, unix.SYS_PRCTL, option, value, 0, 0, 0) }
	s.add("personality", unix.SYS_PERSONALITY, uint64(a.Personality))
	if a.KeepCaps {
		prctl("PR_SET_KEEPCAPS", unix.PR_SET_KEEPCAPS, 1)
	}
	if a.THPDisable != 0 {
		s.add("PR_SET_THP_DISABLE", unix.SYS_PRCTL, unix.PR_SET_THP_DISABLE, 1, uint64(a.THPDisable)&^1, 0, 0)
	}
	if a.MemoryMerge {
		prctl("PR_SET_MEMORY_MERGE", prSetMemoryMerge, 1)
	}
	if a.MCEKill != 0 {
		s.add("PR_MCE_KILL", unix.SYS_PRCTL, unix.PR_MCE_KILL, unix.PR_MCE_KILL_SET, uint64(a.MCEKill), 0, 0)
	}
	if a.TSC != 0 {
		prctl("PR_SET_TSC", unix.PR_SET_TSC, uint64(a.TSC))
	}
	if a.XTileData { // before a thread gets such a state
		s.add("ARCH_REQ_XCOMP_PERM", unix.SYS_ARCH_PRCTL, archReqXCompPerm, xTileData)
	}
	for bit := uint64(1); bit <= uint64(a.Membarrier); bit <<= 1 {
		if uint64(a.Membarrier)&bit != 0 {
			s.add("membarrier registration", unix.SYS_MEMBARRIER, bit, 0, 0)
		}
	}
	if err := s.run(); err != nil {
		return err
	}
	return p.setProcAttributes(a)
}

// setProcAttributes sets what is set through /proc. Lowering the OOM score takes
// a privilege, so a failure there is a warning.
func (p *process) setProcAttributes(a *snapshot.Attributes) error {
	dir := "/proc/" + strconv.Itoa(p.stub.PID) + "/"
	filter := fmt.Sprintf("0x%x", uint64(a.CoredumpFilter))
	if err := os.WriteFile(dir+"coredump_filter", []byte(filter), 0); err != nil {
		return err
	}
	if err := os.WriteFile(dir+"oom_score_adj", []byte(strconv.Itoa(a.OOMScoreAdj)), 0); err != nil {
		p.run.warn("process %d: oom_score_adj %d: %v", p.image.PID, a.OOMScoreAdj, err)
	}
	return nil
}

// lastAttributes sets what would stand in the way of rebuilding the process.
func (p *process) lastAttributes() error {
	a := &p.image.Attributes
	s := newScript(p.stub, p.stub.Leader())
	if a.LockFuture {
		s.add("mlockall", unix.SYS_MLOCKALL, unix.MCL_FUTURE)
	}
	if a.MDWE != 0 {
		s.add("PR_SET_MDWE", unix.SYS_PRCTL, prSetMDWE, uint64(a.MDWE), 0, 0, 0)
	}
	const suidDump = 2 // can't be set, only arises
	if a.Dumpable != suidDump {
		s.add("PR_SET_DUMPABLE", unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, uint64(a.Dumpable), 0, 0, 0)
	}
	if a.NoNewPrivs {
		s.add("PR_SET_NO_NEW_PRIVS", unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	}
	if err := s.run(); err != nil {
		return err
	}
	for which, l := range p.image.Limits {
		want := unix.Rlimit{Cur: uint64(l.Cur), Max: uint64(l.Max)}
		var have unix.Rlimit
		if err := unix.Prlimit(p.stub.PID, which, nil, &have); err != nil {
			return fmt.Errorf("limit %d: %w", which, err)
		}
		if os.Geteuid() != 0 {
			want.Max = min(want.Max, have.Max)
			want.Cur = min(want.Cur, want.Max)
		}
		if want == have {
			continue
		}
		if err := unix.Prlimit(p.stub.PID, which, &want, nil); err != nil {
			p.run.warn("process %d: limit %d: %v", p.image.PID, which, err)
		}
	}
	return nil
}
