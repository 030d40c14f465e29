package restore

import (
	"fmt"

	"github.com/crtrace/crtrace/snapshot"
	"golang.org/x/sys/unix"
)

// placeTTY binds a descriptor that was a terminal outside the tree to the
// restorer's streams: a standard stream to the same stream, others to the
// restorer's terminal, if it has one.
func placeTTY(b *broker, d *snapshot.Description, num int) int {
	terminal, _ := b.terminal()
	return b.stream(d.ID, num, terminal)
}

// giveTerminal puts the process group into the foreground of the restorer's
// terminal that was in the foreground of the program's, if it is not the
// restorer's own and if the terminal is ours to give.
func (r *run) giveTerminal() error {
	stream, ok := r.broker.terminal()
	if !ok || !foreground(r.broker.stdio[stream]) {
		return nil
	}
	for i := range r.m.Descriptions {
		tty, ok := r.m.Descriptions[i].Detail.(*snapshot.TTY)
		if !ok || tty.Foreground == 0 || tty.Foreground == r.m.Group {
			continue
		}
		if err := unix.IoctlSetPointerInt(r.broker.stdio[stream], unix.TIOCSPGRP, r.pidOf(tty.Foreground)); err != nil {
			return fmt.Errorf("give the terminal to process group %d: %w", tty.Foreground, err)
		}
		return nil
	}
	return nil
}

// terminal returns the first of the restorer's streams that is a terminal, else
// standard input.
func (b *broker) terminal() (stream int, ok bool) {
	for i, fd := range b.stdio {
		if _, err := unix.IoctlGetTermios(fd, unix.TCGETS); err == nil {
			return i, true
		}
	}
	return 0, false
}

// startTTY gives the restorer's terminal the settings that the program had made,
// if it is ours to change: whoever is in the background must leave it alone. The
// control flags (speed, parity) are the line's own and stay.
func startTTY(b *broker, d *snapshot.Description, _ int) error {
	want := d.Detail.(*snapshot.TTY).Settings
	stream, ok := b.terminal()
	if !ok || want == nil || !foreground(b.stdio[stream]) {
		return nil
	}
	fd := b.stdio[stream]
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return fmt.Errorf("TCGETS: %w", err)
	}
	setTermios(t, want)
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, t); err != nil {
		return fmt.Errorf("TCSETS: %w", err)
	}
	return nil
}

// setTermios changes settings to those of the image, but for the control flags.
func setTermios(t *unix.Termios, want *snapshot.Termios) {
	t.Iflag, t.Oflag, t.Lflag = uint32(want.Input), uint32(want.Output), uint32(want.Local)
	t.Line = uint8(want.Line)
	copy(t.Cc[:], want.Chars)
}

// foreground tells whether this process is in the foreground of a terminal. In a
// pid namespace a group of outside is 0 for both.
func foreground(fd int) bool {
	group, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// redraw tells a program that its terminal is another one: its window may have
// another size, and a program that does its own editing of lines must draw again.
func (p *process) redraw() error {
	stream, ok := p.broker.terminal()
	if !ok {
		return nil
	}
	size, err := unix.IoctlGetWinsize(p.broker.stdio[stream], unix.TIOCGWINSZ)
	if err != nil {
		return nil // not every terminal has a size
	}
	for _, fd := range p.image.FDs {
		tty, ok := p.run.m.Descriptions[fd.Description].Detail.(*snapshot.TTY)
		if !ok {
			continue
		}
		resized := int(size.Row) != tty.Rows || int(size.Col) != tty.Columns
		if resized || tty.Settings != nil && tty.Settings.Local&unix.ICANON == 0 {
			return unix.Kill(p.stub.PID, unix.SIGWINCH)
		}
	}
	return nil
}
