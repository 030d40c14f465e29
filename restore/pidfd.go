package restore

import (
	"github.com/crtrace/crtrace/snapshot"
	"golang.org/x/sys/unix"
)

// makePidFD makes a descriptor of a process of the tree.
func makePidFD(p *process, d *snapshot.Description) (int, error) {
	pid := d.Detail.(*snapshot.PidFD).PID
	num, err := p.call("pidfd_open", unix.SYS_PIDFD_OPEN, uint64(p.run.pidOf(pid)), uint64(d.Flags&unix.O_NONBLOCK))
	return int(num), err
}
