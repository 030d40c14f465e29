package capture

import (
	"bytes"
	"fmt"

	"github.com/crtrace/crtrace/snapshot"
	"github.com/crtrace/crtrace/tracer/procfs"
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
	tty := &snapshot.TTY{Path: v.link, Control: isControllingTTY(v)}
	if size, err := unix.IoctlGetWinsize(v.fd, unix.TIOCGWINSZ); err == nil { // not every terminal has one
		tty.Rows, tty.Columns = int(size.Row), int(size.Col)
	}
	stat, err := procfs.ReadStat(t.pid)
	if err != nil {
		return nil, err
	}
	if stat.TPGID != stat.PGID || stat.TTY != ttyNumber(v.st.Rdev) && !tty.Control {
		return tty, nil
	}
	s, err := unix.IoctlGetTermios(v.fd, unix.TCGETS)
	if err != nil {
		return nil, fmt.Errorf("TCGETS: %w", err)
	}
	tty.Settings = &snapshot.Termios{
		Input: snapshot.Hex(s.Iflag), Output: snapshot.Hex(s.Oflag), Control: snapshot.Hex(s.Cflag), Local: snapshot.Hex(s.Lflag),
		Line: int(s.Line), Chars: bytes.Clone(s.Cc[:]),
	}
	return tty, nil
}

// ttyNumber is a device number as /proc/PID/stat has it (new_encode_dev of the
// kernel).
func ttyNumber(dev uint64) int {
	major, minor := unix.Major(dev), unix.Minor(dev)
	return int(minor&0xff | major<<8 | minor&^0xff<<12)
}
