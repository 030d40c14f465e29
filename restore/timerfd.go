package restore

import (
	"fmt"

	"github.com/crtrace/crtrace/snapshot"
	"golang.org/x/sys/unix"
)

// openTimerFD makes a timer that does not run yet.
func openTimerFD(b *broker, d *snapshot.Description) (int, error) {
	t := d.Detail.(*snapshot.TimerFD)
	fd, err := unix.TimerfdCreate(t.Clock, unix.TFD_CLOEXEC|int(d.Flags)&unix.O_NONBLOCK)
	if err != nil {
		return -1, fmt.Errorf("timerfd_create: %w", err)
	}
	return b.keep(fd), nil
}

// startTimerFD arms the timer for the time that was left, and gives it the
// expirations that the program has not read yet.
func startTimerFD(_ *broker, d *snapshot.Description, fd int) error {
	t := d.Detail.(*snapshot.TimerFD)
	if t.Value == 0 && t.Interval == 0 && t.Ticks == 0 {
		return nil
	}
	flags, value := 0, t.Value
	if value == 0 && t.Interval > 0 && t.Ticks > 0 {
		value = 1 // it has gone off, and the program starts it anew by reading that
	}
	if t.Flags&unix.TFD_TIMER_ABSTIME != 0 && t.Value > 0 {
		var now unix.Timespec
		if err := unix.ClockGettime(int32(t.Clock), &now); err != nil {
			return fmt.Errorf("clock %d: %w", t.Clock, err)
		}
		flags, value = int(t.Flags), value+now.Nano()
	}
	spec := unix.ItimerSpec{Interval: unix.NsecToTimespec(t.Interval), Value: unix.NsecToTimespec(value)}
	if err := unix.TimerfdSettime(fd, flags, &spec, nil); err != nil {
		return fmt.Errorf("timerfd_settime: %w", err)
	}
	if t.Ticks == 0 {
		return nil
	}
	if err := setTicks(fd, t.Ticks); err != nil {
		return fmt.Errorf("TFD_IOC_SET_TICKS: %w", err)
	}
	return nil
}
