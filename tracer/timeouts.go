package tracer

import (
	"encoding/binary"
	"time"

	"github.com/crtrace/crtrace/regs"
	"github.com/crtrace/crtrace/tracer/procfs"
)

// Some calls that fail with EINTR at an interrupt have their time-out in memory
// (rt_sigtimedwait, semtimedop, epoll_pwait2). Issued again they would wait the
// full time, and the program's own memory must not be changed. The rest of the
// time is put at the end of the vdso's last page instead, which nothing else
// uses, and the argument points there; like every argument of a call it is in a
// register that functions do not preserve. The kernel reads it at the start of
// the call, so a place is free again at the next checkpoint.

// TimeoutLen is the room in bytes that one such time-out takes.
const TimeoutLen = 16

// TimeoutPlaces returns the addresses that a stopped process has for time-outs.
func TimeoutPlaces(pid int, mem *Memory) ([]uint64, error) {
	maps, err := procfs.ReadMaps(pid)
	if err != nil {
		return nil, err
	}
	room, err := findRoom(maps, mem)
	if err != nil {
		return nil, nil // no room, no places
	}
	var places []uint64
	for at := room.End - TimeoutLen; at >= room.Start+parasiteLen(turnsIn(room)); at -= TimeoutLen {
		places = append(places, at)
	}
	return places, nil
}

// TimeoutPointer returns which argument of a call points at its time-out. ok is
// false for calls that go on with the rest of their time in another way.
func TimeoutPointer(nr int, compat bool) (arg int, ok bool) {
	in := Interruption{}
	in.setNumber(nr, compat)
	return in.info.arg, in.info.eintr && in.info.timeout == timeoutTimespec
}

// EncodeTimeout encodes a struct timespec for a call.
func EncodeTimeout(nr int, compat bool, left time.Duration) []byte {
	sec, nsec := uint64(left/time.Second), uint64(left%time.Second)
	if compat && !wide32[nr] {
		b := binary.LittleEndian.AppendUint32(nil, uint32(sec))
		return binary.LittleEndian.AppendUint32(b, uint32(nsec))
	}
	b := binary.LittleEndian.AppendUint64(nil, sec)
	return binary.LittleEndian.AppendUint64(b, nsec)
}

// SetArgument sets an argument of the call that a thread is about to issue.
func SetArgument(r *regs.AMD64, arg int, value uint64) { *args(r)[arg] = value }

// placeTimeouts gives the threads of the process the rest of their time-outs.
func (p *Process) placeTimeouts() error {
	var places []uint64
	looked := false
	for _, t := range p.Tasks {
		if t.call == nil || !t.call.Exact {
			continue
		}
		if _, ok := TimeoutPointer(t.call.NR, t.regs.Compat()); !ok {
			continue
		}
		if !looked {
			looked = true
			var err error
			if places, err = TimeoutPlaces(p.PID, p.Mem); err != nil {
				return err
			}
		}
		if len(places) == 0 {
			return nil
		}
		left := max(t.call.Remaining-time.Since(p.Frozen), 0)
		if err := p.Mem.Write(places[0], EncodeTimeout(t.call.NR, t.regs.Compat(), left)); err != nil {
			return err
		}
		t.timeout, places = places[0], places[1:]
	}
	return nil
}
