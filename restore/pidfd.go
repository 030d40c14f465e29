package restore

import (
	"github.com/crtrace/crtrace/snapshot"
	"golang.org/x/sys/unix"
)

// makePidFD makes a descriptor of a process of the tree.
func makePidFD(p *process, d *snapshot.Description) (int, error) {
	pid := d.Detail.(*snapshot.PidFD).PID
	if pid == p.image.PID {
		pid = p.stub.PID // differs with ids of any kind
	}
	num, err := p.call("pidfd_open", unix.SYS_PIDFD_OPEN, uint64(pid), uint64(d.Flags&unix.O_NONBLOCK))
	return int(num), err
}
