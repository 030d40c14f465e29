package capture

import (
	"encoding/binary"

	"github.com/crtrace/crtrace/snapshot"
	"github.com/crtrace/crtrace/tracer/procfs"
	"golang.org/x/sys/unix"
)

// takeITimers collects ITIMER_REAL, ITIMER_VIRTUAL and ITIMER_PROF.
func (t *target) takeITimers() error {
	for which := range 3 {
		if _, err := t.call(unix.SYS_GETITIMER, uint64(which), t.remote.Area); err != nil {
			return err
		}
		b, err := t.fetch(32) // struct itimerval: interval, value; each seconds, microseconds
		if err != nil {
			return err
		}
		micros := func(at int) int64 {
			return int64(binary.LittleEndian.Uint64(b[at:]))*1e6 + int64(binary.LittleEndian.Uint64(b[at+8:]))
		}
		timer := snapshot.ITimer{Which: which, Interval: micros(0), Value: micros(16)}
		if timer.Value != 0 || timer.Interval != 0 {
			t.out.ITimers = append(t.out.ITimers, timer)
		}
	}
	return nil
}

// takeTimers collects the timers made by timer_create.
func (t *target) takeTimers() error {
	timers, err := procfs.ReadTimers(t.pid)
	if err != nil {
		return err
	}
	for _, timer := range timers {
		if _, err := t.call(unix.SYS_TIMER_GETTIME, uint64(timer.ID), t.remote.Area); err != nil {
			return err
		}
		b, err := t.fetch(32) // struct itimerspec
		if err != nil {
			return err
		}
		overrun, err := t.call(unix.SYS_TIMER_GETOVERRUN, uint64(timer.ID))
		if err != nil {
			return err
		}
		t.out.Timers = append(t.out.Timers, snapshot.PosixTimer{
			ID: timer.ID, Clock: timer.Clock, Notify: timer.Notify, Signal: timer.Signal, TID: timer.ThreadID,
			Sigval: snapshot.Hex(timer.Sigval), Interval: nanos(b), Value: nanos(b[16:]), Overrun: int(overrun),
		})
	}
	return nil
}

// nanos decodes a struct timespec.
func nanos(b []byte) int64 {
	return int64(binary.LittleEndian.Uint64(b))*1e9 + int64(binary.LittleEndian.Uint64(b[8:]))
}
