package restore

import (
	"encoding/binary"

	"github.com/crtrace/crtrace/snapshot"
	"golang.org/x/sys/unix"
)

// setOwner sets who gets SIGIO for a description, and then O_ASYNC, for which
// the process itself must ask.
func (p *process) setOwner(d *snapshot.Description, fd int) error {
	s := newScript(p.stub, p.stub.Leader())
	if o := d.Owner; o != nil {
		owner := binary.LittleEndian.AppendUint32(nil, uint32(o.Type))
		owner = binary.LittleEndian.AppendUint32(owner, uint32(p.run.idOf(o.ID)))
		s.add("F_SETOWN_EX", unix.SYS_FCNTL, uint64(fd), unix.F_SETOWN_EX, s.bytes(owner))
		s.add("F_SETSIG", unix.SYS_FCNTL, uint64(fd), unix.F_SETSIG, uint64(o.Signal))
	}
	if d.Flags&unix.O_ASYNC != 0 {
		s.add("O_ASYNC", unix.SYS_FCNTL, uint64(fd), unix.F_SETFL, uint64(statusFlags(d)))
	}
	return s.run()
}
