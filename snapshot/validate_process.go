package snapshot

import (
	"errors"
	"fmt"
)

// processes checks the tree. The ids come first, as everything else may refer
// to them.
func (v *validator) processes() error {
	ps := v.m.Processes
	if len(ps) == 0 {
		return errors.New("there is no process")
	}
	if ps[0].PID != v.m.Root || ps[0].PPID != 0 {
		return fmt.Errorf("the first process is %d, not the root %d", ps[0].PID, v.m.Root)
	}
	for i := range ps {
		if err := v.ids(&ps[i]); err != nil {
			return fmt.Errorf("process %d: %w", ps[i].PID, err)
		}
	}
	for i := range ps {
		if err := v.process(&ps[i]); err != nil {
			return fmt.Errorf("process %d: %w", ps[i].PID, err)
		}
	}
	return nil
}

// ids checks the ids of a process and its threads.
func (v *validator) ids(p *Process) error {
	if p.PPID != 0 && v.pids[p.PPID] == nil {
		return fmt.Errorf("its parent %d does not come before it", p.PPID)
	}
	if p.PGID < 0 || p.PGID > maxID || p.SID < 0 || p.SID > maxID {
		return fmt.Errorf("process group %d, session %d", p.PGID, p.SID)
	}
	if len(p.Threads) == 0 || len(p.Threads) > maxCount || p.Threads[0].TID != p.PID {
		return errors.New("its first thread is not the leader")
	}
	for i, t := range p.Threads {
		if t.TID < 1 || t.TID > maxID {
			return fmt.Errorf("thread id %d is not possible", t.TID)
		}
		if v.tids[t.TID] {
			return fmt.Errorf("thread id %d is there twice", t.TID)
		}
		if i > 1 && t.TID < p.Threads[i-1].TID {
			return fmt.Errorf("thread %d is not in order", t.TID)
		}
		v.tids[t.TID] = true
	}
	v.pids[p.PID] = p
	return nil
}

// process checks one process.
func (v *validator) process(p *Process) error {
	if err := checkSignal(p.Stopped, true); err != nil {
		return err
	}
	if err := v.parentThread(p.PPID, p.ParentTID); err != nil {
		return err
	}
	if err := index("file", p.Exe, len(v.m.Files)); err != nil {
		return err
	}
	if err := checkPath(p.Cwd); err != nil {
		return fmt.Errorf("working directory: %w", err)
	}
	counts := []int{len(p.VMAs), len(p.FDs), len(p.Locks), len(p.Pending), len(p.Timers), len(p.Credentials.Groups)}
	for _, n := range counts {
		if n > maxCount {
			return fmt.Errorf("an array of %d elements is too long", n)
		}
	}
	steps := []func(*Process) error{
		v.properties, v.limits, v.mm, v.vmas, v.fds, v.locks, v.signals, v.timers, v.threads,
	}
	for _, step := range steps {
		if err := step(p); err != nil {
			return err
		}
	}
	return nil
}

// properties checks attributes and credentials.
func (v *validator) properties(p *Process) error {
	a := p.Attributes
	switch {
	case a.Umask > 0o777:
		return fmt.Errorf("umask %v", a.Umask)
	case a.OOMScoreAdj < -1000 || a.OOMScoreAdj > 1000:
		return fmt.Errorf("oom_score_adj %d", a.OOMScoreAdj)
	case a.Dumpable < 0 || a.Dumpable > 2:
		return fmt.Errorf("dumpable %d", a.Dumpable)
	case a.Filters < 0:
		return fmt.Errorf("%d system call filters", a.Filters)
	}
	c := p.Credentials
	ids := append(append(c.UIDs[:], c.GIDs[:]...), c.Groups...)
	for _, id := range ids {
		if id < 0 || int64(id) > 1<<32-1 {
			return fmt.Errorf("user or group id %d", id)
		}
	}
	return nil
}

// limits checks the resource limits.
func (v *validator) limits(p *Process) error {
	if len(p.Limits) > 32 {
		return fmt.Errorf("%d resource limits", len(p.Limits))
	}
	for i, l := range p.Limits {
		if l.Cur > l.Max {
			return fmt.Errorf("resource limit %d: %v is above the maximum %v", i, l.Cur, l.Max)
		}
	}
	return nil
}

// mm checks the description of the address space.
func (v *validator) mm(p *Process) error {
	mm := &p.MM
	if err := v.useStore(mm.Store, "mm-"); err != nil {
		return err
	}
	pairs := []Range{
		{mm.StartCode, mm.EndCode}, {mm.StartData, mm.EndData}, {mm.StartBrk, mm.Brk},
		{mm.StartStack, mm.StartStack}, {mm.ArgStart, mm.ArgEnd}, {mm.EnvStart, mm.EnvEnd},
	}
	for _, r := range pairs {
		if r.Start > r.End || r.End > maxAddress {
			return fmt.Errorf("address space: the part from %v to %v is not possible", r.Start, r.End)
		}
	}
	if len(mm.Auxv) > PageSize || len(mm.Auxv)%8 != 0 {
		return fmt.Errorf("auxiliary vector of %d bytes", len(mm.Auxv))
	}
	return nil
}

// vmas checks the mappings.
func (v *validator) vmas(p *Process) error {
	end := Hex(0)
	for i := range p.VMAs {
		a := &p.VMAs[i]
		err := checkRange(Range{a.Start, a.End}, end, maxAddress)
		if err == nil {
			err = v.vma(a)
		}
		if err != nil {
			return fmt.Errorf("mapping %v-%v: %w", a.Start, a.End, err)
		}
		end = a.End
	}
	return nil
}

// checkRange checks that r is page-aligned, not empty and inside [low, high).
func checkRange(r Range, low, high Hex) error {
	switch {
	case r.Start%PageSize != 0 || r.End%PageSize != 0:
		return errors.New("is not page-aligned")
	case r.Start >= r.End:
		return errors.New("is empty")
	case r.Start < low:
		return errors.New("overlaps the one before or is not in order")
	case r.End > high:
		return errors.New("goes too far")
	}
	return nil
}

// vma checks one mapping.
func (v *validator) vma(a *VMA) error {
	if !isProt(a.Prot) {
		return fmt.Errorf("%q is not a protection", a.Prot)
	}
	if a.Name == "[vsyscall]" {
		return errors.New("the vsyscall page is never in an image")
	}
	size := uint64(a.End - a.Start)
	if a.Offset%PageSize != 0 || uint64(a.Offset) > maxObject-size {
		return fmt.Errorf("offset %v", a.Offset)
	}
	if a.Write && !a.Shared {
		return errors.New("a private mapping can't write to its file")
	}
	if err := v.vmaObject(a); err != nil {
		return err
	}
	if len(a.Guards) > maxCount {
		return fmt.Errorf("%d guard regions", len(a.Guards))
	}
	low := a.Start
	for _, g := range a.Guards {
		if err := checkRange(g, low, a.End); err != nil {
			return fmt.Errorf("guard region %v-%v: %w", g.Start, g.End, err)
		}
		low = g.End
	}
	return nil
}

// vmaObject checks what a mapping maps.
func (v *validator) vmaObject(a *VMA) error {
	switch a.Kind {
	case VMAFile:
		return index("file", a.Object, len(v.m.Files))
	case VMAShared:
		if err := index("shared memory", a.Object, len(v.m.Shared)); err != nil {
			return err
		}
		return v.m.Shared[a.Object].holds(a)
	case VMAAnon, VMAVDSO:
		if a.Object != 0 || a.Shared {
			return fmt.Errorf("kind %q has no object and is private", a.Kind)
		}
		return nil
	default:
		return fmt.Errorf("unknown kind %q", a.Kind)
	}
}

// isProt reports whether s is a protection such as "rw-".
func isProt(s string) bool {
	if len(s) != 3 {
		return false
	}
	for i, c := range "rwx" {
		if s[i] != '-' && rune(s[i]) != c {
			return false
		}
	}
	return true
}

// fds checks the descriptor table.
func (v *validator) fds(p *Process) error {
	last := -1
	for _, f := range p.FDs {
		if f.Num <= last || f.Num > 1<<30 {
			return fmt.Errorf("descriptor %d is not in order", f.Num)
		}
		last = f.Num
		if err := index("description", f.Description, len(v.m.Descriptions)); err != nil {
			return fmt.Errorf("descriptor %d: %w", f.Num, err)
		}
	}
	return nil
}

// locks checks the file locks.
func (v *validator) locks(p *Process) error {
	nums := map[int]bool{-1: true}
	for _, f := range p.FDs {
		nums[f.Num] = true
	}
	for i, l := range p.Locks {
		switch {
		case l.Kind != "flock" && l.Kind != "posix" && l.Kind != "ofd" && l.Kind != "lease":
			return fmt.Errorf("lock %d: unknown kind %q", i, l.Kind)
		case l.Type != "read" && l.Type != "write":
			return fmt.Errorf("lock %d: unknown type %q", i, l.Type)
		case l.Description < -1 || l.Description >= len(v.m.Descriptions):
			return fmt.Errorf("lock %d: there is no description %d", i, l.Description)
		case !nums[l.FD]:
			return fmt.Errorf("lock %d: there is no descriptor %d", i, l.FD)
		case l.Start < 0 || l.End < -1 || (l.End >= 0 && l.End < l.Start):
			return fmt.Errorf("lock %d: bytes %d to %d", i, l.Start, l.End)
		}
		if l.File == -1 && l.Description >= 0 {
			continue // found through its description
		}
		if err := index("file", l.File, len(v.m.Files)); err != nil {
			return fmt.Errorf("lock %d: %w", i, err)
		}
	}
	return nil
}
