package capture

import "github.com/crtrace/crtrace/snapshot"

// takeEventFD collects an event counter.
func takeEventFD(_ *target, v *view) (snapshot.Detail, error) {
	return &snapshot.EventFD{Count: snapshot.Hex(v.info.EventFDCount), Semaphore: v.info.EventFDSemaphore}, nil
}
