package tracer

import (
	"slices"
	"time"

	"github.com/crtrace/crtrace/regs"
	"github.com/crtrace/crtrace/tracer/procfs"
)

// Some calls that fail with EINTR at an interrupt have their time-out in memory
// (rt_sigtimedwait, semtimedop, epoll_pwait2, a ppoll with a constant one). Issued again they would wait the
// full time, and the program's own memory must not be changed. The rest of the
// time is put at the end of the vdso's last page instead, which nothing else
// uses, and the argument points there; like every argument of a call it is in a
// register that functions do not preserve. The kernel reads it at the start of
// the call; a place is free again when no call's argument points there.

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
	pointer := in.info.timeout == timeoutTimespec || in.info.timeout == timeoutTimeval
	return in.info.arg, in.info.eintr && pointer
}

// EncodeTimeout encodes the time-out of a call as its TimeoutPointer finds it.
func EncodeTimeout(nr int, compat bool, left time.Duration) []byte {
	in := Interruption{}
	in.setNumber(nr, compat)
	return in.encode(left, compat)
}

// SetArgument sets an argument of the call that a thread is about to issue.
func SetArgument(r *regs.AMD64, arg int, value uint64) { *args(r)[arg] = value }

// placeTimeouts gives the threads of the process the rest of their time-outs. A
// thread whose call has its time-out in one of the places since an earlier
// checkpoint keeps that place, whether its rest is known exactly or not.
func (p *Process) placeTimeouts() error {
	var waiting []*Task
	for _, t := range p.Tasks {
		if t.call == nil || t.call.Remaining < 0 || t.call.writtenBack(&t.regs) {
			continue
		}
		if _, ok := TimeoutPointer(t.call.NR, t.regs.Compat()); ok {
			waiting = append(waiting, t)
		}
	}
	if len(waiting) == 0 {
		return nil
	}
	free, err := TimeoutPlaces(p.PID, p.Mem)
	if err != nil {
		return err
	}
	for _, t := range waiting {
		at := *args(&t.regs)[t.call.info.arg]
		if i := slices.Index(free, at); i >= 0 {
			t.timeout, free = at, slices.Delete(free, i, i+1)
		}
	}
	for _, t := range waiting {
		if t.timeout == 0 && t.call.Exact && len(free) > 0 { // the others have their whole time-out where it was
			t.timeout, free = free[0], free[1:]
		}
		if t.timeout == 0 {
			continue
		}
		left := max(t.call.Remaining-time.Since(p.Frozen), 0)
		if err := p.Mem.Write(t.timeout, t.call.encode(left, t.regs.Compat())); err != nil {
			return err
		}
	}
	return nil
}

// passTime takes the time that the process stood still off the time-outs that the
// kernel has written back: as the calls would have done if nobody had stopped them.
// Only what the kernel has just written is written again.
func (p *Process) passTime() error {
	for _, t := range p.Tasks {
		if t.call == nil || !t.call.writtenBack(&t.regs) {
			continue
		}
		at := *args(&t.regs)[t.call.info.arg]
		rest, ok := t.call.timespec(&t.regs, p.Mem, at)
		if !ok {
			continue
		}
		left := max(rest-time.Since(p.Frozen), 0)
		if err := p.Mem.Write(at, t.call.encode(left, t.regs.Compat())); err != nil {
			return err
		}
	}
	return nil
}
