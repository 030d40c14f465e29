package procfs

import (
	"errors"
	"io/fs"
	"slices"
)

// Child is a child of one thread of a process.
type Child struct {
	PID int
	TID int // the thread that made it or took it over; 0 where the kernel does not tell
}

// Children lists the children of all threads of a process, zombies included,
// ascending. The list is exact while the process and its children are stopped;
// otherwise a child may be missing that is born or ends at this moment.
func Children(pid int) ([]Child, error) {
	tids, err := Tasks(pid)
	if err != nil {
		return nil, err
	}
	var out []Child
	for _, tid := range tids {
		kids, err := read(taskPath(pid, tid, "children"), parseChildren)
		switch {
		case errors.Is(err, fs.ErrNotExist) && taskExists(pid, tid):
			return scanChildren(pid) // a kernel without CONFIG_PROC_CHILDREN
		case Gone(err):
			continue // this thread ended; its children moved to another one
		case err != nil:
			return nil, err
		}
		for _, kid := range kids {
			out = append(out, Child{kid, tid})
		}
	}
	slices.SortFunc(out, func(a, b Child) int { return a.PID - b.PID })
	return out, nil
}

// Member is a process of a tree.
type Member struct {
	Stat
	ParentTID int  // thread of the parent, 0 where the kernel does not tell
	Orphan    bool // its parent has ended: it belongs to the tree's reaper now
}

// Zombie tells whether the process has ended.
func (m *Member) Zombie() bool { return m.State == 'Z' || m.State == 'X' }

// Tree lists a process and all that descend from it, parents before children.
// The children of the reaper, if it is not 0, are orphans of the same tree;
// those that have ended are left to it. As for Children, the list is exact
// while all of them are stopped. A root that is gone makes the list empty.
func Tree(root, reaper int) ([]Member, error) {
	stat, err := ReadStat(root)
	if Gone(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	w := walk{seen: map[int]bool{root: true}, out: []Member{{Stat: stat}}}
	if reaper != 0 {
		if err := w.add(reaper, true); err != nil {
			return nil, err
		}
	}
	for i := 0; i < len(w.out); i++ {
		if err := w.add(w.out[i].PID, false); err != nil {
			return nil, err
		}
	}
	return w.out, nil
}

// walk is a tree that is being listed.
type walk struct {
	seen map[int]bool
	out  []Member
}

// add lists the children of one process.
func (w *walk) add(parent int, orphans bool) error {
	kids, err := Children(parent)
	if err != nil && !Gone(err) {
		return err
	}
	for _, kid := range kids {
		if w.seen[kid.PID] {
			continue
		}
		stat, err := ReadStat(kid.PID)
		if Gone(err) {
			continue
		}
		if err != nil {
			return err
		}
		m := Member{Stat: stat, ParentTID: kid.TID, Orphan: orphans}
		if orphans && m.Zombie() {
			continue
		}
		w.seen[kid.PID] = true
		w.out = append(w.out, m)
	}
	return nil
}

// taskExists reports whether a thread can still be read.
func taskExists(pid, tid int) bool {
	_, err := ReadTaskStat(pid, tid)
	return err == nil
}

// parseChildren reads process ids with blanks between them.
func parseChildren(data []byte) ([]int, error) {
	line, rest := cutLine(data)
	kids, ok := integers(line)
	if !ok {
		return nil, badLine(1, line, "not a list of process ids")
	}
	if len(rest) > 0 {
		return nil, badLine(2, rest, "more than one record")
	}
	return kids, nil
}

// scanChildren finds children by asking every process for its parent.
func scanChildren(pid int) ([]Child, error) {
	pids, err := Processes()
	if err != nil {
		return nil, err
	}
	var out []Child
	for _, p := range pids {
		s, err := ReadStat(p)
		switch {
		case Gone(err):
		case err != nil:
			return nil, err
		case s.PPID == pid:
			out = append(out, Child{PID: p})
		}
	}
	return out, nil
}
