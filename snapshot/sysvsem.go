package snapshot

import (
	"fmt"
	"slices"
)

// SemaphoreSet is a set of System V semaphores.
type SemaphoreSet struct {
	IPC
	Values []int `json:"values"`
	// PIDs tells who changed each semaphore last; 0: nobody. It may be a process
	// that is not in the tree any more.
	PIDs []int     `json:"pids"`
	Undo []SemUndo `json:"undo,omitempty"`
}

// SemUndo is what is added to a semaphore when a process ends (SEM_UNDO).
type SemUndo struct {
	PID       int `json:"pid"`
	Semaphore int `json:"semaphore"` // index into Values
	Adjust    int `json:"adjust"`
}

// Bounds of the kernel.
const (
	maxSemaphore = 32767 // SEMVMX
	minAdjust    = -maxSemaphore - 1
)

// check validates a set.
func (s *SemaphoreSet) check(v *validator) error {
	if err := s.IPC.check(); err != nil {
		return err
	}
	if n := len(s.Values); n == 0 || n > maxSemaphore+1 || len(s.PIDs) != n || len(s.Undo) > maxCount {
		return fmt.Errorf("%d values, %d process ids, %d adjustments", n, len(s.PIDs), len(s.Undo))
	}
	for i, value := range s.Values {
		if value < 0 || value > maxSemaphore || s.PIDs[i] < 0 || s.PIDs[i] > maxID {
			return fmt.Errorf("semaphore %d: value %d, process %d", i, value, s.PIDs[i])
		}
	}
	for i, u := range s.Undo {
		switch {
		case v.pids[u.PID] == nil:
			return fmt.Errorf("adjustment %d: there is no process %d", i, u.PID)
		case u.Semaphore < 0 || u.Semaphore >= len(s.Values):
			return fmt.Errorf("adjustment %d: there is no semaphore %d", i, u.Semaphore)
		case u.Adjust < minAdjust || u.Adjust > maxSemaphore || u.Adjust == 0:
			return fmt.Errorf("adjustment %d: %d is not possible", i, u.Adjust)
		case slices.ContainsFunc(s.Undo[max(0, i-1):i], func(o SemUndo) bool {
			return o.PID == u.PID && o.Semaphore >= u.Semaphore
		}):
			return fmt.Errorf("adjustment %d is not in order", i)
		}
	}
	return nil
}
