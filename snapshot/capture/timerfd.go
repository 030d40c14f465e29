package capture

import (
	"errors"
	"time"

	"github.com/crtrace/crtrace/snapshot"
	"github.com/crtrace/crtrace/tracer/procfs"
)

// settledTimer looks again at a timer that seems to be disarmed: for the moment
// between its time and the interrupt, one that goes off looks the same.
func (t *target) settledTimer(v *view, timer *procfs.TimerFD) (*procfs.TimerFD, error) {
	const patience = time.Millisecond
	for end := time.Now().Add(patience); !t.surveying() && timer.Value == 0 && timer.Ticks == 0 && time.Now().Before(end); {
		info, err := procfs.ReadFDInfo(v.pid, v.num)
		if err != nil {
			return nil, err
		}
		if info.Timer != nil {
			timer = info.Timer
		}
	}
	return timer, nil
}

// takeTimerFD collects a timer.
func takeTimerFD(t *target, v *view) (snapshot.Detail, error) {
	timer := v.info.Timer
	if timer == nil {
		return nil, errors.New("the kernel tells nothing of the timer (fdinfo)")
	}
	timer, err := t.settledTimer(v, timer)
	if err != nil {
		return nil, err
	}
	return &snapshot.TimerFD{
		Clock: timer.Clock, Flags: snapshot.Hex(timer.SettimeFlags),
		Value: timer.Value, Interval: timer.Interval, Ticks: timer.Ticks,
	}, nil
}
