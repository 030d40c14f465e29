package snapshot

import (
	"errors"
	"fmt"
)

// SysVShm is what a segment of System V shared memory has beside its content.
type SysVShm struct {
	IPC
	Removed bool `json:"removed,omitempty"` // it ends with its last attachment
	Locked  bool `json:"locked,omitempty"`  // SHM_LOCK
}

// KindSysV is the kind of Shared that is a segment of System V shared memory.
const KindSysV = "sysv"

// sysvShm checks a segment.
func (s *Shared) sysvShm() error {
	if (s.Kind == KindSysV) != (s.SysV != nil) {
		return fmt.Errorf("kind %q does not go with the properties of a segment", s.Kind)
	}
	if s.SysV == nil {
		return nil
	}
	if s.Size == 0 {
		return errors.New("a segment is never empty")
	}
	return s.SysV.check()
}

// holds checks that a mapping of a segment lies inside it. Other memory may be shorter
// than its mappings.
func (s *Shared) holds(a *VMA) error {
	if s.SysV != nil && a.Offset+(a.End-a.Start) > (s.Size+PageSize-1)&^(PageSize-1) {
		return fmt.Errorf("it goes beyond the end of segment %d", s.SysV.ID)
	}
	return nil
}
