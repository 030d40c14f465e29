package snapshot

import "fmt"

// KindPidFD is the kind of pidfds of processes in the tree.
const KindPidFD Kind = "pidfd"

// PidFD is a descriptor of a process.
type PidFD struct {
	PID int `json:"pid"`
}

// Kind implements Detail.
func (*PidFD) Kind() Kind { return KindPidFD }

// check implements Detail.
func (p *PidFD) check(v *validator) error {
	if v.pids[p.PID] == nil {
		return fmt.Errorf("there is no process %d", p.PID)
	}
	return nil
}
