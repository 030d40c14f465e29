package procfs

import (
	"errors"
	"io/fs"
	"slices"
)

// Tasks lists the threads of a process, ascending.
func Tasks(pid int) ([]int, error) { return numbers(pidPath(pid, "task")) }

// Processes lists all processes that the caller can see, ascending.
func Processes() ([]int, error) { return numbers("/proc") }

// Ancestors lists the processes from a process's parent upwards, as far as they
// are visible. The list is cut short where one of them ends meanwhile.
func Ancestors(pid int) []int {
	var up []int
	const most = 4096 // a bound, should ids change meanwhile and lead in a circle
	for len(up) < most {
		s, err := ReadStat(pid)
		if err != nil || s.PPID <= 0 {
			break
		}
		pid = s.PPID
		up = append(up, pid)
	}
	return up
}

// Children lists the children of all threads of a process, zombies included,
// ascending. The list is exact while the process and its children are stopped;
// otherwise a child may be missing that is born or ends at this moment.
func Children(pid int) ([]int, error) {
	tids, err := Tasks(pid)
	if err != nil {
		return nil, err
	}
	var out []int
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
		out = append(out, kids...)
	}
	slices.Sort(out)
	return out, nil
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
func scanChildren(pid int) ([]int, error) {
	pids, err := Processes()
	if err != nil {
		return nil, err
	}
	var out []int
	for _, p := range pids {
		s, err := ReadStat(p)
		switch {
		case Gone(err):
		case err != nil:
			return nil, err
		case s.PPID == pid:
			out = append(out, p)
		}
	}
	return out, nil
}
