package snapshot

import "fmt"

// KindMemory is the kind of descriptions of shared memory without a name on
// disk: memfds and deleted files of a tmpfs.
const KindMemory Kind = "memory"

// MemoryFD is an open description of shared memory.
type MemoryFD struct {
	Shared int   `json:"shared"` // Manifest.Shared
	Offset int64 `json:"offset"` // bytes
}

// Kind implements Detail.
func (*MemoryFD) Kind() Kind { return KindMemory }

// check implements Detail.
func (m *MemoryFD) check(v *validator) error {
	if err := notNegative("the offset", m.Offset); err != nil {
		return err
	}
	if err := index("shared memory", m.Shared, len(v.m.Shared)); err != nil {
		return err
	}
	if v.m.Shared[m.Shared].SysV != nil {
		return fmt.Errorf("shared memory %d is a segment, which no descriptor leads to", m.Shared)
	}
	return nil
}
