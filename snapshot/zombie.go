package snapshot

import "fmt"

// Zombie is a process that has ended and whose parent has not waited for it yet.
type Zombie struct {
	PID       int `json:"pid"`
	PPID      int `json:"ppid"`
	ParentTID int `json:"parent_tid,omitempty"` // as for Process
	PGID      int `json:"pgid"`
	SID       int `json:"sid"`
	// Status is how it ended, as wait(2) reports it.
	Status Hex `json:"status"`
}

// Exit returns the exit status of a zombie, or the signal that ended it.
func (z *Zombie) Exit() (status, signal int) {
	const signals = 0x7f
	if sig := int(z.Status & signals); sig != 0 {
		return 0, sig
	}
	return int(z.Status>>8) & 0xff, 0
}

// zombies checks the list of zombies. The processes have been checked before.
func (v *validator) zombies() error {
	if len(v.m.Zombies) > maxCount {
		return fmt.Errorf("%d zombies", len(v.m.Zombies))
	}
	for i := range v.m.Zombies {
		z := &v.m.Zombies[i]
		_, signal := z.Exit()
		switch {
		case z.PID < 1 || z.PID > maxID || v.tids[z.PID]:
			return fmt.Errorf("zombie %d: its id is not possible or is there twice", z.PID)
		case v.pids[z.PPID] == nil:
			return fmt.Errorf("zombie %d: its parent %d is not in the tree", z.PID, z.PPID)
		case z.PGID < 0 || z.PGID > maxID || z.SID < 0 || z.SID > maxID:
			return fmt.Errorf("zombie %d: process group %d, session %d", z.PID, z.PGID, z.SID)
		case z.Status > 0xffff || signal > maxSignal:
			return fmt.Errorf("zombie %d: status %v is not possible", z.PID, z.Status)
		}
		if err := v.parentThread(z.PPID, z.ParentTID); err != nil {
			return fmt.Errorf("zombie %d: %w", z.PID, err)
		}
		v.tids[z.PID] = true
	}
	return nil
}

// parentThread checks which thread of its parent a process is the child of.
func (v *validator) parentThread(pid, tid int) error {
	if tid == 0 {
		return nil
	}
	if p := v.pids[pid]; p != nil {
		for _, t := range p.Threads {
			if t.TID == tid {
				return nil
			}
		}
	}
	return fmt.Errorf("its parent %d has no thread %d", pid, tid)
}
