package capture

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/crtrace/crtrace/snapshot"
	"github.com/crtrace/crtrace/tracer"
	"github.com/crtrace/crtrace/tracer/procfs"
	"golang.org/x/sys/unix"
)

// target is a process that is being collected.
type target struct {
	*collection
	pid    int
	stat   procfs.Stat
	proc   *tracer.Process // nil during a survey
	remote *tracer.Remote  // nil during a survey
	out    *snapshot.Process
	idOf   map[int]int      // description of each descriptor
	maps   []procfs.Mapping // the address space, once it was taken
	stored []procfs.Range   // pages that are in its store
}

// refuse notes that something can't be restored.
func (t *target) refuse(object, why, hint string) {
	t.problems = append(t.problems, Problem{PID: t.pid, Object: object, Why: why, Hint: hint})
}

// take collects what is the process's own. It is stopped, and its descriptors
// have been collected.
func (t *target) take(ctx context.Context) error {
	steps := []struct {
		name string
		do   func() error
	}{
		{"identity", t.takeIdentity}, {"attributes", t.takeAttributes}, {"limits", t.takeLimits}, {"mm", t.takeMM},
		{"actions", t.takeActions}, {"pending signals", t.takePending}, {"interval timers", t.takeITimers},
		{"timers", t.takeTimers}, {"threads", t.takeThreads},
		{"memory", func() error { return t.takeVMAs(ctx) }}, {"locks", t.takeLocks},
	}
	for _, step := range steps {
		if err := ctx.Err(); err != nil {
			return err
		}
		began := time.Now()
		if err := step.do(); err != nil {
			return fmt.Errorf("process %d: %s: %w", t.pid, step.name, err)
		}
		t.log.Debug("taken", "pid", t.pid, "what", step.name, "took", time.Since(began))
	}
	return nil
}

// call makes a system call in the process's leader.
func (t *target) call(nr int, args ...uint64) (uint64, error) {
	return t.remote.Call(t.proc.Leader(), nr, args...)
}

// fetch reads n bytes of the scratch area, into which the last call wrote.
func (t *target) fetch(n int) ([]byte, error) {
	b := make([]byte, n)
	return b, t.proc.Mem.Read(t.remote.Area, b)
}

// fetch32 reads one 32-bit number of the scratch area.
func (t *target) fetch32() (uint32, error) {
	b, err := t.fetch(4)
	return binary.LittleEndian.Uint32(b), err
}

// takeIdentity collects the owner, names and directories.
func (t *target) takeIdentity() error {
	status, err := procfs.ReadStatus(t.pid)
	if err != nil {
		return err
	}
	t.out.Credentials = snapshot.Credentials{UIDs: status.UIDs, GIDs: status.GIDs, Groups: status.Groups}
	t.out.Attributes.Umask = snapshot.Hex(status.Umask)
	t.out.Attributes.NoNewPrivs = status.NoNewPrivs != 0
	t.out.Attributes.Filters = status.SeccompFilters
	if t.out.Exe, err = t.takeExe(); err != nil {
		return err
	}
	t.out.Cwd, t.out.CwdGone, err = procfs.Cwd(t.pid)
	return err
}

// takeLimits collects the resource limits.
func (t *target) takeLimits() error {
	const count = 16 // RLIM_NLIMITS
	for which := range count {
		var l unix.Rlimit
		if err := unix.Prlimit(t.pid, which, nil, &l); err != nil {
			return fmt.Errorf("limit %d: %w", which, err)
		}
		t.out.Limits = append(t.out.Limits, snapshot.Limit{Cur: snapshot.Hex(l.Cur), Max: snapshot.Hex(l.Max)})
	}
	return nil
}

// takeMM collects the description of the address space.
func (t *target) takeMM() error {
	stat, err := procfs.ReadStat(t.pid)
	if err != nil {
		return err
	}
	brk, err := t.call(unix.SYS_BRK, 0)
	if err != nil {
		return err
	}
	auxv, err := procfs.ReadAuxv(t.pid)
	if err != nil {
		return err
	}
	hex := func(v uint64) snapshot.Hex { return snapshot.Hex(v) }
	t.out.MM = snapshot.MM{
		StartCode: hex(stat.StartCode), EndCode: hex(stat.EndCode),
		StartData: hex(stat.StartData), EndData: hex(stat.EndData),
		StartBrk: hex(stat.StartBrk), Brk: hex(brk), StartStack: hex(stat.StartStack),
		ArgStart: hex(stat.ArgStart), ArgEnd: hex(stat.ArgEnd),
		EnvStart: hex(stat.EnvStart), EnvEnd: hex(stat.EnvEnd), Auxv: auxv,
	}
	return nil
}
