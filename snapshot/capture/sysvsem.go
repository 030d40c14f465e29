package capture

import (
	"errors"
	"fmt"
	"slices"

	"github.com/crtrace/crtrace/snapshot"
	"github.com/crtrace/crtrace/tracer"
	"github.com/crtrace/crtrace/tracer/procfs"
	"golang.org/x/sys/unix"
)

// No call tells what the kernel adds to a semaphore when a process ends (SEM_UNDO). It can
// be found out by calls that fail, made by the process itself: semop(2) carries out its
// operations one after the other and, if one is not possible, takes all of them back. Two
// operations, one with SEM_UNDO and its opposite without, leave the value as it is and move
// the adjustment. If that leaves the possible range the call fails with ERANGE; an
// operation at the end that can't be carried out makes it fail with EAGAIN otherwise. So
// the distance to the end of the range is found by halving. Nothing is changed, nobody is
// woken, and neither the time nor the process of the last operation is noted.

// maxAdjust is the largest adjustment, SEMAEM; the smallest is one more below zero.
const maxAdjust = 32767

// takeSemaphoreSets collects the semaphore sets of the tree.
func (c *collection) takeSemaphoreSets() error {
	table, err := procfs.SemaphoreSets()
	if err != nil {
		return fmt.Errorf("semaphore sets: %w", err)
	}
	for i := range table {
		if err := c.takeSemaphoreSet(&table[i]); err != nil {
			return fmt.Errorf("%s %d: %w", kindSet, table[i].ID, err)
		}
	}
	return nil
}

func (c *collection) takeSemaphoreSet(s *procfs.SemaphoreSet) error {
	waits := c.waitsFor(kindSet, s.ID)
	pids, err := tracer.SemaphorePIDs(s.ID, s.Count)
	if c.passesOver(err, kindSet, s.ID, waits) {
		return nil
	}
	if err != nil {
		return err
	}
	out, ok := c.ownsIPC(kindSet, &s.IPC, waits, s.Uses(pids))
	if !ok || c.surveying() || len(c.problems) > 0 {
		return nil
	}
	set := snapshot.SemaphoreSet{IPC: *out, PIDs: pids}
	if set.Values, err = tracer.SemaphoreValues(s.ID, s.Count); err != nil {
		return err
	}
	errUndo := c.takeUndo(&set)
	// The tree stands still, but others may change or remove what only may be its own.
	after, err := tracer.SemaphoreValues(s.ID, s.Count)
	switch same := err == nil && slices.Equal(set.Values, after); {
	case !same && out.Guessed:
		return nil
	case !same:
		c.targets[0].refuse(fmt.Sprintf("%s %d", kindSet, s.ID), "a process that is not part of the program has just used it", tryAgain)
		return nil
	case errUndo != nil:
		return errUndo
	}
	c.m.Semaphores = append(c.m.Semaphores, set)
	return nil
}

// passesOver tells whether an object can't be looked at and need not be: it is gone, or
// another user's. One that the tree waits for is refused.
func (c *collection) passesOver(err error, kind string, id int, mine bool) bool {
	switch {
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EIDRM):
		return true
	case !errors.Is(err, unix.EACCES):
		return false
	case mine:
		c.targets[0].refuse(fmt.Sprintf("%s %d", kind, id), "its permissions do not allow to read it", "let the program give its owner that right")
	}
	return true
}

// takeUndo finds out what the processes have adjusted in a set.
func (c *collection) takeUndo(set *snapshot.SemaphoreSet) error {
	var having []*target
	for _, t := range c.targets {
		adjusted, err := t.undoOf(t.proc.Leader(), set)
		if err != nil {
			return fmt.Errorf("adjustments of process %d: %w", t.pid, err)
		}
		for i, adjust := range adjusted {
			if adjust != 0 {
				set.Undo = append(set.Undo, snapshot.SemUndo{PID: t.pid, Semaphore: i, Adjust: adjust})
			}
		}
		if len(adjusted) > 0 {
			having = append(having, t)
			set.Guessed = false
		}
		if err := t.surveyUndo(set); err != nil {
			return err
		}
	}
	return surveySharedUndo(having, set)
}

// kcmpSysVSem is KCMP_SYSVSEM: what two tasks adjust together.
const kcmpSysVSem = 6

// surveyUndo refuses threads that have adjustments of their own: those of a restored
// process are shared by all its threads, as pthread_create does it.
func (t *target) surveyUndo(set *snapshot.SemaphoreSet) error {
	for _, task := range t.proc.Tasks[1:] {
		same, err := sameResource(task.TID, t.pid, kcmpSysVSem)
		if err != nil {
			return fmt.Errorf("kcmp: %w", err)
		}
		if same {
			continue
		}
		adjusted, err := t.undoOf(task, set)
		if err != nil {
			return fmt.Errorf("adjustments of thread %d: %w", task.TID, err)
		}
		if len(adjusted) > 0 {
			t.refuse(fmt.Sprintf("%s %d", kindSet, set.ID), fmt.Sprintf("thread %d has adjustments of its own (SEM_UNDO)", task.TID), "")
		}
	}
	return nil
}

// surveySharedUndo refuses processes that have adjustments together.
func surveySharedUndo(having []*target, set *snapshot.SemaphoreSet) error {
	for i, t := range having {
		for _, o := range having[:i] {
			same, err := sameResource(t.pid, o.pid, kcmpSysVSem)
			if err != nil {
				return fmt.Errorf("kcmp: %w", err)
			}
			if same {
				t.refuse(fmt.Sprintf("%s %d", kindSet, set.ID), fmt.Sprintf("the adjustments (SEM_UNDO) are shared with process %d", o.pid), "")
			}
		}
	}
	return nil
}

// undoOf returns the adjustments that a task has in a set; nil when there are none.
func (t *target) undoOf(task *tracer.Task, set *snapshot.SemaphoreSet) ([]int, error) {
	const each = 12 // operations to find out whether a semaphore has an adjustment
	group := max(1, (tracer.MaxSemops()-1)/each)
	var out []int
	for first := 0; first < len(set.Values); first += group {
		last := min(first+group, len(set.Values))
		zero, err := t.unadjusted(task, set, first, last)
		if err != nil {
			return nil, err
		}
		if zero {
			continue
		}
		if out == nil {
			out = make([]int, len(set.Values))
		}
		for i := first; i < last; i++ {
			if out[i], err = t.adjustment(task, set, i); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// unadjusted tells whether the semaphores from first to last have no adjustment: then
// each can go up to the end of the range, and all the way down to the other.
func (t *target) unadjusted(task *tracer.Task, set *snapshot.SemaphoreSet, first, last int) (bool, error) {
	var ops []tracer.Semop
	for i := first; i < last; i++ {
		ops = tracer.MoveAdjustment(ops, i, set.Values[i], maxAdjust)
		ops = tracer.MoveAdjustment(ops, i, set.Values[i], -2*maxAdjust-1)
	}
	return t.canMove(task, set.ID, ops)
}

// adjustment returns the adjustment of one semaphore.
func (t *target) adjustment(task *tracer.Task, set *snapshot.SemaphoreSet, i int) (int, error) {
	can, cannot := 0, 2*maxAdjust+2 // up
	for cannot-can > 1 {
		by := (can + cannot) / 2
		ok, err := t.canMove(task, set.ID, tracer.MoveAdjustment(nil, i, set.Values[i], by))
		if err != nil {
			return 0, err
		}
		if ok {
			can = by
		} else {
			cannot = by
		}
	}
	return maxAdjust - can, nil
}

// canMove tells whether a task could carry out some operations, which it does not.
func (t *target) canMove(task *tracer.Task, id int, ops []tracer.Semop) (bool, error) {
	const impossible = -32768 // no semaphore has as much
	ops = append(ops, tracer.Semop{Semaphore: ops[0].Semaphore, Add: impossible})
	if err := t.proc.Mem.Write(t.remote.Area, tracer.EncodeSemops(ops)); err != nil {
		return false, err
	}
	switch _, err := t.remote.Call(task, unix.SYS_SEMOP, uint64(id), t.remote.Area, uint64(len(ops))); {
	case errors.Is(err, unix.EAGAIN):
		return true, nil
	case errors.Is(err, unix.ERANGE):
		return false, nil
	case err == nil:
		return false, errors.New("the kernel has carried out an operation that is not possible")
	default:
		return false, err
	}
}
