package capture

import (
	"errors"

	"github.com/crtrace/crtrace/snapshot"
)

// takeTimerFD collects a timer.
func takeTimerFD(_ *target, v *view) (snapshot.Detail, error) {
	timer := v.info.Timer
	if timer == nil {
		return nil, errors.New("the kernel tells nothing of the timer (fdinfo)")
	}
	return &snapshot.TimerFD{
		Clock: timer.Clock, Flags: snapshot.Hex(timer.SettimeFlags),
		Value: timer.Value, Interval: timer.Interval, Ticks: timer.Ticks,
	}, nil
}
