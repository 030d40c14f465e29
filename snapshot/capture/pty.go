package capture

import (
	"bytes"
	"fmt"

	"github.com/crtrace/crtrace/snapshot"
	"golang.org/x/sys/unix"
)

// A pseudo terminal belongs to the tree when the tree has its master side. All
// other terminals are somebody else's (tty.go).

const ptsMajor = 136 // UNIX98_PTY_SLAVE_MAJOR

// ttyDevice returns the number of the terminal that a description really leads to:
// for /dev/tty that of the terminal behind it.
func ttyDevice(v *view) (major, minor uint32, ok bool) {
	if v.st.Mode&unix.S_IFMT != unix.S_IFCHR {
		return 0, 0, false
	}
	dev, err := unix.IoctlGetUint32(v.fd, unix.TIOCGDEV)
	if err != nil {
		return 0, 0, false
	}
	return dev >> 8 & 0xfff, dev&0xff | dev>>12&0xfff00, true // new_encode_dev
}

// isMaster matches the master side of a pseudo terminal.
func isMaster(v *view) bool {
	if v.st.Mode&unix.S_IFMT != unix.S_IFCHR {
		return false
	}
	_, err := unix.IoctlGetInt(v.fd, unix.TIOCGPTN)
	return err == nil
}

// isPTY matches both sides of the tree's pseudo terminals.
func isPTY(v *view) bool { return isMaster(v) || !isControllingTTY(v) && v.t.masterOf(v) != nil }

// isControl matches /dev/tty of those.
func isControl(v *view) bool { return isControllingTTY(v) && v.t.masterOf(v) != nil }

// masterOf returns the master side of the pseudo terminal whose slave side a
// description is, nil when the tree does not have it.
func (c *collection) masterOf(v *view) *view {
	major, minor, ok := ttyDevice(v)
	if !ok || major < ptsMajor || major >= ptsMajor+8 {
		return nil
	}
	number := int(major-ptsMajor)<<20 | int(minor)
	for _, o := range c.byID {
		if n, err := unix.IoctlGetInt(o.fd, unix.TIOCGPTN); isMaster(o) && err == nil && n == number {
			return o
		}
	}
	return nil
}

// takePTY collects one side.
func takePTY(t *target, v *view) (snapshot.Detail, error) {
	p := &snapshot.PTY{Master: isMaster(v)}
	master := v
	if !p.Master {
		if master = t.masterOf(v); master == nil {
			return p, nil // gone since: only a survey can see that
		}
	}
	var err error
	p.Terminal, err = t.terminalOf(master)
	return p, err
}

// takeControl collects /dev/tty.
func takeControl(t *target, v *view) (snapshot.Detail, error) {
	master := t.masterOf(v)
	if master == nil {
		return &snapshot.Control{}, nil // as above
	}
	id, err := t.terminalOf(master)
	return &snapshot.Control{Terminal: id}, err
}

// terminalOf enters the terminal of a master side into the table.
func (t *target) terminalOf(master *view) (int, error) {
	if id, ok := t.terminals[master.id]; ok {
		return id, nil
	}
	term := snapshot.Terminal{ID: len(t.m.Terminals)}
	if err := t.takeTerminal(master, &term); err != nil {
		return 0, fmt.Errorf("pseudo terminal: %w", err)
	}
	t.terminals[master.id] = term.ID
	t.m.Terminals = append(t.m.Terminals, term)
	return term.ID, nil
}

// takeTerminal collects the state of a terminal, which both sides share. What was
// written and not read yet can't be seen without taking it away.
func (t *target) takeTerminal(master *view, term *snapshot.Terminal) error {
	fd := master.fd
	var err error
	if term.Index, err = unix.IoctlGetInt(fd, unix.TIOCGPTN); err != nil {
		return fmt.Errorf("TIOCGPTN: %w", err)
	}
	s, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return fmt.Errorf("TCGETS: %w", err)
	}
	term.Settings = *settingsOf(s)
	size, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ)
	if err != nil {
		return fmt.Errorf("TIOCGWINSZ: %w", err)
	}
	term.Rows, term.Columns, term.Width, term.Height = int(size.Row), int(size.Col), int(size.Xpixel), int(size.Ypixel)
	for request, flag := range map[uint]*bool{
		unix.TIOCGPKT: &term.Packets, unix.TIOCGPTLCK: &term.Locked, unix.TIOCGEXCL: &term.Exclusive,
	} {
		n, err := unix.IoctlGetInt(fd, request)
		if err != nil {
			return fmt.Errorf("ioctl 0x%x: %w", request, err)
		}
		*flag = n != 0
	}
	if term.HungUp, err = pollFor(fd, unix.POLLHUP); err != nil {
		return err
	}
	for _, o := range t.targets {
		if o.stat.TTY == ttyNumber(unix.Mkdev(ptsMajor+uint32(term.Index>>20), uint32(term.Index&0xfffff))) {
			term.Session = o.stat.SID
			term.Foreground = max(o.stat.TPGID, 0)
		}
	}
	return t.surveyTerminal(master)
}

// surveyTerminal refuses a terminal with bytes on their way: from the programs to
// the master side, or keys that no program has read. A look by poll makes the
// kernel move what still lies in its buffers to where it is counted.
func (t *target) surveyTerminal(master *view) error {
	if t.surveying() {
		return nil
	}
	for _, v := range t.byID {
		if v != master && (isMaster(v) || t.masterOf(v) != master) {
			continue
		}
		if _, err := pollFor(v.fd, unix.POLLIN); err != nil {
			return err
		}
		if n, err := unix.IoctlGetInt(v.fd, unix.TIOCINQ); err == nil && n > 0 {
			t.refuse(v.object(), fmt.Sprintf("%d bytes that were written to the terminal have not been read yet", n), tryAgain)
			return nil
		}
	}
	return nil
}

// settingsOf translates the settings of a terminal.
func settingsOf(s *unix.Termios) *snapshot.Termios {
	return &snapshot.Termios{
		Input: snapshot.Hex(s.Iflag), Output: snapshot.Hex(s.Oflag), Control: snapshot.Hex(s.Cflag), Local: snapshot.Hex(s.Lflag),
		Line: int(s.Line), Chars: bytes.Clone(s.Cc[:]),
	}
}
