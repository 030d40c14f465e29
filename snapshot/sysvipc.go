package snapshot

import (
	"fmt"
	"slices"
)

// IPC is what all System V IPC objects have: segments of shared memory, semaphore
// sets, message queues.
type IPC struct {
	ID   int `json:"id"` // what shmget(2) and its like return
	Key  int `json:"key"`
	Mode Hex `json:"mode"` // permissions, 9 bits
	UID  int `json:"uid"`  // owner
	GID  int `json:"gid"`
	CUID int `json:"cuid"` // creator
	CGID int `json:"cgid"`
	// Guessed: nobody of the tree was seen to use the object; it only may belong
	// to it. Package capture tells when.
	Guessed bool `json:"guessed,omitempty"`
}

// UsesIPC tells whether the tree has System V IPC objects.
func (m *Manifest) UsesIPC() bool {
	return len(m.Semaphores) > 0 || len(m.Queues) > 0 || slices.ContainsFunc(m.Shared, func(s Shared) bool { return s.SysV != nil })
}

// check validates what all kinds have.
func (o *IPC) check() error {
	const maxInt, owner = 1<<31 - 1, 1<<32 - 1
	switch {
	case o.ID < 0 || o.ID > maxInt:
		return fmt.Errorf("id %d is not possible", o.ID)
	case o.Key < -maxInt-1 || o.Key > maxInt:
		return fmt.Errorf("key %d is not possible", o.Key)
	case o.Mode > 0o777:
		return fmt.Errorf("permissions %v", o.Mode)
	}
	for _, id := range []int{o.UID, o.GID, o.CUID, o.CGID} {
		if id < 0 || int64(id) > owner {
			return fmt.Errorf("user or group id %d", id)
		}
	}
	return nil
}

// ipc checks all System V IPC objects but the segments, which belong to the shared
// memory, and that ids and keys are there once.
func (v *validator) ipc() error {
	if len(v.m.Semaphores) > maxCount || len(v.m.Queues) > maxCount {
		return fmt.Errorf("%d semaphore sets, %d message queues", len(v.m.Semaphores), len(v.m.Queues))
	}
	var shm, sem, msg []*IPC
	for i := range v.m.Shared {
		if s := v.m.Shared[i].SysV; s != nil {
			shm = append(shm, &s.IPC)
		}
	}
	for i := range v.m.Semaphores {
		s := &v.m.Semaphores[i]
		if err := s.check(v); err != nil {
			return fmt.Errorf("semaphore set %d: %w", s.ID, err)
		}
		sem = append(sem, &s.IPC)
	}
	for i := range v.m.Queues {
		q := &v.m.Queues[i]
		if err := q.check(); err != nil {
			return fmt.Errorf("message queue %d: %w", q.ID, err)
		}
		msg = append(msg, &q.IPC)
	}
	for _, all := range [][]*IPC{shm, sem, msg} {
		if err := unique(all); err != nil {
			return err
		}
	}
	return nil
}

// unique checks the ids of the objects of one kind. A key may be there twice: that of
// a segment that is marked for removal is free.
func unique(all []*IPC) error {
	ids := map[int]bool{}
	for _, o := range all {
		if ids[o.ID] {
			return fmt.Errorf("object %d of System V IPC is there twice", o.ID)
		}
		ids[o.ID] = true
	}
	return nil
}
