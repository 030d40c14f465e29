package capture

import (
	"github.com/crtrace/crtrace/snapshot"
	"golang.org/x/sys/unix"
)

// isDevice matches devices.
func isDevice(v *view) bool {
	kind := v.st.Mode & unix.S_IFMT
	return kind == unix.S_IFCHR || kind == unix.S_IFBLK
}

// stateless are the minors of major 1 that keep nothing between calls: null,
// zero, full, random, urandom.
var stateless = map[uint32]bool{3: true, 5: true, 7: true, 8: true, 9: true}

// takeDevice collects a device without state.
func takeDevice(t *target, v *view) (snapshot.Detail, error) {
	major, minor := unix.Major(v.st.Rdev), unix.Minor(v.st.Rdev)
	path, ok := v.named()
	if major != 1 || !stateless[minor] || v.st.Mode&unix.S_IFMT != unix.S_IFCHR || !ok {
		t.refuse(v.object(), "the state of this device is in its driver", "close it before the checkpoint")
		return nil, nil
	}
	return &snapshot.Device{Path: path, Major: int(major), Minor: int(minor)}, nil
}
