package capture

import (
	"fmt"

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
	tty := &snapshot.TTY{Path: v.link, Control: isControllingTTY(v)}
	if size, err := unix.IoctlGetWinsize(v.fd, unix.TIOCGWINSZ); err == nil { // not every terminal has one
		tty.Rows, tty.Columns = int(size.Row), int(size.Col)
	}
	if tty.Foreground = t.foreground(v, tty.Control); tty.Foreground == 0 {
		return tty, nil
	}
	s, err := unix.IoctlGetTermios(v.fd, unix.TCGETS)
	if err != nil {
		return nil, fmt.Errorf("TCGETS: %w", err)
	}
	tty.Settings = settingsOf(s)
	return tty, nil
}

// foreground returns the process group in the foreground of a terminal, if a
// process of the tree is in it, else 0. The terminal is the controlling one of
// the process where it was opened as /dev/tty.
func (t *target) foreground(v *view, control bool) int {
	number := ttyNumber(v.st.Rdev)
	if control {
		number = t.stat.TTY
	}
	for _, o := range t.targets {
		if o.stat.TTY == number && number != 0 && o.stat.TPGID == o.stat.PGID {
			return o.stat.PGID
		}
	}
	return 0
}

// ttyNumber is a device number as /proc/PID/stat has it (new_encode_dev of the
// kernel).
func ttyNumber(dev uint64) int {
	major, minor := unix.Major(dev), unix.Minor(dev)
	return int(minor&0xff | major<<8 | minor&^0xff<<12)
}
