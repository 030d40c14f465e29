package capture

import (
	"github.com/crtrace/crtrace/snapshot"
	"golang.org/x/sys/unix"
)

// isPath matches descriptions that only name a place.
func isPath(v *view) bool { return v.info.Flags&unix.O_PATH != 0 }

// takePath collects a description opened with O_PATH.
func takePath(t *target, v *view) (snapshot.Detail, error) {
	path, ok := v.named()
	if !ok {
		t.refuse(v.object(), "what it leads to has no name any more", "")
		return nil, nil
	}
	return &snapshot.Path{Path: path, Mode: snapshot.Hex(v.st.Mode)}, nil
}
