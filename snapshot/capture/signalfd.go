package capture

import "github.com/crtrace/crtrace/snapshot"

// takeSignalFD collects a signalfd.
func takeSignalFD(_ *target, v *view) (snapshot.Detail, error) {
	return &snapshot.SignalFD{Mask: snapshot.Hex(v.info.SigMask)}, nil
}
