package restore

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/crtrace/crtrace/snapshot"
	"github.com/crtrace/crtrace/tracer"
	"github.com/crtrace/crtrace/tracer/procfs"
	"golang.org/x/sys/unix"
)

// setKind is semaphore sets.
var setKind = &ipcKind{
	name:   "semaphore set",
	next:   "/proc/sys/kernel/sem_next_id",
	list:   listSets,
	make:   func() (int, error) { return makeSet(unix.IPC_PRIVATE, 1) },
	remove: func(id int) error { return control(unix.SYS_SEMCTL, id, 0, unix.IPC_RMID) },
}

func listSets() ([]ipcState, error) {
	table, err := procfs.SemaphoreSets()
	out := make([]ipcState, len(table))
	for i := range table {
		s := &table[i]
		out[i] = ipcState{IPC: s.IPC, size: s.Count}
		out[i].look = func() []procfs.Use {
			pids, err := tracer.SemaphorePIDs(s.ID, s.Count)
			if err != nil {
				return nil // it is gone, or nobody's whom we know
			}
			return s.Uses(pids)
		}
	}
	return out, err
}

// makeSet makes a set of n semaphores for this user.
func makeSet(key, n int) (int, error) {
	id, _, errno := unix.Syscall(unix.SYS_SEMGET, uintptr(key), uintptr(n), unix.IPC_CREAT|unix.IPC_EXCL|ownMode)
	if errno != 0 {
		return 0, errno
	}
	return int(id), nil
}

// control makes a call such as semctl(2) that takes no address.
func control(nr uintptr, id, arg, command int) error {
	if _, _, errno := unix.Syscall(nr, uintptr(id), uintptr(arg), uintptr(command)); errno != 0 {
		return errno
	}
	return nil
}

// newSet is a semaphore set on its way back.
func newSet(s *snapshot.SemaphoreSet) *ipcObject {
	return &ipcObject{
		kind: setKind, image: &s.IPC, size: len(s.Values),
		make: func(key int) (int, error) { return makeSet(key, len(s.Values)) },
		unchanged: func(now *ipcState) bool {
			values, err := tracer.SemaphoreValues(now.ID, len(s.Values))
			return err == nil && slices.Equal(values, s.Values)
		},
	}
}

// semSetAll is SETALL.
const semSetAll = 17

// fillSet gives semaphores their values and the processes their adjustments. Setting a
// value clears the adjustments of all processes, so that comes first. Values that are
// right are not set: a set that nobody has used shows that.
func (r *run) fillSet(set *snapshot.SemaphoreSet, o *ipcObject) error {
	id := uint64(o.id)
	root := r.processes[0]
	s := newScript(root.stub, root.stub.Leader())
	if o.found {
		s.add("IPC_SET", unix.SYS_SEMCTL, id, 0, unix.IPC_SET, s.bytes(encodePerm(&set.IPC, ownMode, semidLen)))
		if err := s.run(); err != nil {
			return err
		}
	}
	now, err := tracer.SemaphoreValues(o.id, len(set.Values))
	if err != nil {
		return err
	}
	if !slices.Equal(now, set.Values) {
		var values []byte
		for _, v := range set.Values {
			values = binary.LittleEndian.AppendUint16(values, uint16(v))
		}
		s.room(len(values))
		s.add("SETALL", unix.SYS_SEMCTL, id, 0, semSetAll, s.bytes(values))
	}
	if err := s.run(); err != nil {
		return err
	}
	for _, p := range r.processes {
		if err := p.adjust(set, id); err != nil {
			return fmt.Errorf("process %d: %w", p.image.PID, err)
		}
	}
	for _, p := range r.processes {
		if err := p.touchSemaphores(set, id); err != nil {
			return fmt.Errorf("process %d: %w", p.image.PID, err)
		}
	}
	s.add("IPC_SET", unix.SYS_SEMCTL, id, 0, unix.IPC_SET, s.bytes(encodePerm(&set.IPC, uint32(set.Mode), semidLen)))
	return s.run()
}

const semidLen = 104 // of struct semid64_ds

// adjust gives a process its adjustments.
func (p *process) adjust(set *snapshot.SemaphoreSet, id uint64) error {
	s := newScript(p.stub, p.stub.Leader())
	for _, u := range set.Undo {
		if u.PID == p.image.PID {
			p.addSemops(s, id, tracer.MoveAdjustment(nil, u.Semaphore, set.Values[u.Semaphore], u.Adjust))
		}
	}
	return s.run()
}

// touchSemaphores makes a process the last one that changed its semaphores, by going up
// and down.
func (p *process) touchSemaphores(set *snapshot.SemaphoreSet, id uint64) error {
	s := newScript(p.stub, p.stub.Leader())
	for i, pid := range set.PIDs {
		if pid != p.image.PID {
			continue
		}
		by := 1
		if set.Values[i] > 0 {
			by = -1
		}
		p.addSemops(s, id, []tracer.Semop{{Semaphore: i, Add: by}, {Semaphore: i, Add: -by}})
	}
	return s.run()
}

// addSemops adds a semop(2) to a script.
func (p *process) addSemops(s *script, id uint64, ops []tracer.Semop) {
	b := tracer.EncodeSemops(ops)
	s.room(len(b))
	s.add("semop", unix.SYS_SEMOP, id, s.bytes(b), uint64(len(ops)))
}
