package capture

import (
	"github.com/crtrace/crtrace/snapshot"
	"golang.org/x/sys/unix"
)

// isTTY matches terminals.
func isTTY(v *view) bool {
	if v.st.Mode&unix.S_IFMT != unix.S_IFCHR {
		return false
	}
	_, err := unix.IoctlGetTermios(v.fd, unix.TCGETS)
	return err == nil || isControllingTTY(v)
}

// isControllingTTY matches /dev/tty, which is device 5:0.
func isControllingTTY(v *view) bool { return v.st.Rdev == unix.Mkdev(5, 0) }

// takeTTY collects a terminal of somebody outside the tree.
func takeTTY(t *target, v *view) (snapshot.Detail, error) {
	const ptmx, ttyAuxMajor = 2, 5
	if unix.Major(v.st.Rdev) == ttyAuxMajor && unix.Minor(v.st.Rdev) == ptmx {
		t.refuse(v.object(), "a pseudo terminal's master side can't be restored yet", "")
		return nil, nil
	}
	return &snapshot.TTY{Path: v.link, Control: isControllingTTY(v)}, nil
}
