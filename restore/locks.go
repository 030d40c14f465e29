package restore

import (
	"encoding/binary"
	"fmt"

	"github.com/crtrace/crtrace/snapshot"
	"golang.org/x/sys/unix"
)

// Commands and types of fcntl(2) locks.
const (
	ofdSetLock = 37 // F_OFD_SETLK
	setLease   = 1024
	setLock    = unix.F_SETLK
)

// setLocks takes the file locks that descriptors hold, without waiting: if
// somebody else has one now, the restore fails.
func (p *process) setLocks() error {
	s := newScript(p.stub, p.stub.Leader())
	for _, l := range p.image.Locks {
		if l.FD < 0 {
			continue
		}
		typ, operation := uint64(unix.F_RDLCK), uint64(unix.LOCK_SH)
		if l.Type == "write" {
			typ, operation = unix.F_WRLCK, unix.LOCK_EX
		}
		what := fmt.Sprintf("%s lock of descriptor %d", l.Kind, l.FD)
		switch l.Kind {
		case "flock":
			s.add(what, unix.SYS_FLOCK, uint64(l.FD), operation|unix.LOCK_NB)
		case "lease":
			s.add(what, unix.SYS_FCNTL, uint64(l.FD), setLease, typ)
		default:
			command := uint64(setLock)
			if l.Kind == "ofd" {
				command = ofdSetLock
			}
			s.room(32)
			s.add(what, unix.SYS_FCNTL, uint64(l.FD), command, s.bytes(flockStruct(l, typ)))
		}
	}
	return s.run()
}

// flockStruct encodes struct flock. A length of 0 means to the end of the file.
func flockStruct(l snapshot.Lock, typ uint64) []byte {
	length := int64(0)
	if l.End >= 0 {
		length = l.End - l.Start + 1
	}
	b := binary.LittleEndian.AppendUint64(nil, typ) // l_type, l_whence (SEEK_SET), padding
	b = binary.LittleEndian.AppendUint64(b, uint64(l.Start))
	b = binary.LittleEndian.AppendUint64(b, uint64(length))
	return append(b, make([]byte, 8)...) // l_pid, padding
}

// lockMappings takes the locks that live on in a mapping whose descriptor the
// program has closed: through the description that the mapping was made with.
func (p *process) lockMappings() error {
	s := newScript(p.stub, p.stub.Leader())
	for _, l := range p.image.Locks {
		if l.FD >= 0 || l.Kind != "flock" || l.File < 0 {
			continue
		}
		operation := uint64(unix.LOCK_SH)
		if l.Type == "write" {
			operation = unix.LOCK_EX
		}
		for _, write := range []bool{true, false} {
			if fd, ok := p.broker.files[fileUse{l.File, write}]; ok {
				s.add("lock of a mapped file", unix.SYS_FLOCK, uint64(p.broker.transfer[fd]), operation|unix.LOCK_NB)
				break
			}
		}
	}
	return s.run()
}
