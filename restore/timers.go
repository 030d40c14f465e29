package restore

import (
	"encoding/binary"
	"fmt"

	"github.com/crtrace/crtrace/snapshot"
	"golang.org/x/sys/unix"
)

const (
	prTimerRestoreIDs = 77 // PR_TIMER_CREATE_RESTORE_IDS, since 6.15
	sigevThreadID     = 4
	maxTimerSkips     = 1 << 16
)

// makeTimers makes the timers of timer_create under their ids.
func (p *process) makeTimers() error {
	if len(p.image.Timers) == 0 {
		return nil
	}
	leader := p.stub.Leader()
	_, err := leader.Call(unix.SYS_PRCTL, prTimerRestoreIDs, 1, 0, 0, 0)
	exact := err == nil
	for _, t := range p.image.Timers {
		if err := p.makeTimer(t, exact); err != nil {
			return fmt.Errorf("timer %d: %w", t.ID, err)
		}
	}
	if exact {
		_, err = leader.Call(unix.SYS_PRCTL, prTimerRestoreIDs, 0, 0, 0, 0)
		return err
	}
	return nil
}

// makeTimer makes one timer. Where the kernel does not take wanted ids it gives
// them out in ascending order, so those before are made and deleted.
func (p *process) makeTimer(t snapshot.PosixTimer, exact bool) error {
	data, _ := p.stub.Data()
	var event [64]byte // struct sigevent
	binary.LittleEndian.PutUint64(event[0:], uint64(t.Sigval))
	binary.LittleEndian.PutUint32(event[8:], uint32(t.Signal))
	notify := uint32(t.Notify)
	if t.TID != 0 {
		notify |= sigevThreadID
		binary.LittleEndian.PutUint32(event[16:], uint32(p.tidOf(t.TID)))
	}
	binary.LittleEndian.PutUint32(event[12:], notify)
	for range maxTimerSkips {
		idAt := data + 128
		if err := p.stub.Mem.Write(data, event[:]); err != nil {
			return err
		}
		if err := p.stub.Mem.Write(idAt, binary.LittleEndian.AppendUint32(nil, uint32(t.ID))); err != nil {
			return err
		}
		if _, err := p.call("timer_create", unix.SYS_TIMER_CREATE, uint64(t.Clock), data, idAt); err != nil {
			return err
		}
		var b [4]byte
		if err := p.stub.Mem.Read(idAt, b[:]); err != nil {
			return err
		}
		got := int(int32(binary.LittleEndian.Uint32(b[:])))
		if got == t.ID {
			return nil
		}
		if exact || got > t.ID {
			return fmt.Errorf("the kernel gave it id %d", got)
		}
		if _, err := p.call("timer_delete", unix.SYS_TIMER_DELETE, uint64(got)); err != nil {
			return err
		}
	}
	return fmt.Errorf("its id could not be reached in %d steps", maxTimerSkips)
}

// startTimers arms all timers with the time that was left.
func (p *process) startTimers() error {
	data, _ := p.stub.Data()
	for _, t := range p.image.ITimers {
		if t.Value == 0 {
			// It has gone off, and its signal is pending: the kernel would
			// have started the next interval with the signal's delivery.
			t.Value = t.Interval
		}
		var b []byte // struct itimerval
		for _, us := range []int64{t.Interval, t.Value} {
			b = binary.LittleEndian.AppendUint64(b, uint64(us/1e6))
			b = binary.LittleEndian.AppendUint64(b, uint64(us%1e6))
		}
		if err := p.stub.Mem.Write(data, b); err != nil {
			return err
		}
		if _, err := p.call("setitimer", unix.SYS_SETITIMER, uint64(t.Which), data, 0); err != nil {
			return err
		}
	}
	for _, t := range p.image.Timers {
		if t.Value == 0 {
			continue
		}
		var b []byte // struct itimerspec
		for _, ns := range []int64{t.Interval, t.Value} {
			b = binary.LittleEndian.AppendUint64(b, uint64(ns/1e9))
			b = binary.LittleEndian.AppendUint64(b, uint64(ns%1e9))
		}
		if err := p.stub.Mem.Write(data, b); err != nil {
			return err
		}
		if _, err := p.call("timer_settime", unix.SYS_TIMER_SETTIME, uint64(t.ID), 0, data, 0); err != nil {
			return err
		}
	}
	return nil
}
