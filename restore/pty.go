package restore

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/crtrace/crtrace/snapshot"
	"golang.org/x/sys/unix"
)

// terminal is a pseudo terminal that the broker has made.
type terminal struct {
	master int
	slave  int // what a session gets as its controlling terminal, -1: none is needed
	given  bool
}

// openTerminals makes the pseudo terminals of the tree.
func (b *broker) openTerminals() error {
	for i := range b.m.Terminals {
		want := &b.m.Terminals[i]
		t, err := b.makeTerminal(want)
		if err != nil {
			return fmt.Errorf("pseudo terminal %d: %w", want.Index, err)
		}
		b.terminals = append(b.terminals, t)
	}
	return nil
}

// makeTerminal makes one, with its settings. Packet mode and locks come last.
func (b *broker) makeTerminal(want *snapshot.Terminal) (*terminal, error) {
	master, index, err := openMaster(want.Index)
	if err != nil {
		return nil, err
	}
	t := &terminal{master: b.keep(master), slave: -1}
	if index != want.Index {
		b.warnings = append(b.warnings, fmt.Sprintf("the pseudo terminal /dev/pts/%d is /dev/pts/%d now, as the old one is in use", want.Index, index))
	}
	if err := unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err != nil {
		return nil, fmt.Errorf("TIOCSPTLCK: %w", err)
	}
	if want.Session != 0 || want.HungUp {
		if t.slave, err = openSlave(master, unix.O_RDWR); err != nil {
			return nil, err
		}
		b.keep(t.slave)
	}
	s, err := unix.IoctlGetTermios(master, unix.TCGETS)
	if err != nil {
		return nil, fmt.Errorf("TCGETS: %w", err)
	}
	setTermios(s, &want.Settings)
	s.Cflag = uint32(want.Settings.Control)
	size := unix.Winsize{Row: uint16(want.Rows), Col: uint16(want.Columns), Xpixel: uint16(want.Width), Ypixel: uint16(want.Height)}
	return t, errors.Join(unix.IoctlSetTermios(master, unix.TCSETS, s), unix.IoctlSetWinsize(master, unix.TIOCSWINSZ, &size))
}

// openMaster makes a pseudo terminal, with the wanted index if that is free. The
// kernel gives the lowest free one, so lower ones are taken meanwhile.
func openMaster(want int) (fd, index int, err error) {
	var lower []int
	defer func() {
		for _, fd := range lower {
			unix.Close(fd)
		}
	}()
	for {
		fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
		if errors.Is(err, unix.ENOSPC) && len(lower) > 0 { // no more of them are allowed
			fd, lower = lower[0], lower[1:]
			index, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
			return fd, index, err
		}
		if err != nil {
			return -1, 0, fmt.Errorf("open /dev/ptmx: %w", err)
		}
		index, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
		if err != nil || index >= want {
			return fd, index, err
		}
		lower = append(lower, fd)
	}
}

// openSlave opens the slave side of a pseudo terminal. This way leaves O_CLOEXEC,
// if asked for, among the flags of the description, as open(2) does not: then
// /proc/PID/fdinfo shows it for every duplicate.
func openSlave(master, flags int) (int, error) {
	fd, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER, uintptr(flags|unix.O_NOCTTY))
	if errno != 0 {
		return -1, fmt.Errorf("TIOCGPTPEER: %w", errno)
	}
	unix.CloseOnExec(int(fd))
	return int(fd), nil
}

// slaveFlags are the flags that openSlave opens a description with.
func slaveFlags(d *snapshot.Description) int {
	return openFlags(d)&^unix.O_CLOEXEC | int(d.Flags)&unix.O_CLOEXEC
}

// openPTY opens one side.
func openPTY(b *broker, d *snapshot.Description) (int, error) {
	p := d.Detail.(*snapshot.PTY)
	t := b.terminals[p.Terminal]
	if p.Master {
		if t.given {
			return -1, errors.New("the master side of a pseudo terminal is there twice")
		}
		t.given = true
		return t.master, setStatus(t.master, d)
	}
	fd, err := openSlave(t.master, slaveFlags(d))
	if err != nil {
		return -1, err
	}
	return b.keep(fd), setStatus(fd, d)
}

// startPTY sets what would have been in the way before.
func startPTY(b *broker, d *snapshot.Description, fd int) error {
	p := d.Detail.(*snapshot.PTY)
	if !p.Master {
		return nil
	}
	want := &b.m.Terminals[p.Terminal]
	for request, on := range map[uint]bool{unix.TIOCPKT: want.Packets, unix.TIOCSPTLCK: want.Locked} {
		if on {
			if err := unix.IoctlSetPointerInt(fd, request, 1); err != nil {
				return fmt.Errorf("ioctl 0x%x: %w", request, err)
			}
		}
	}
	if want.Exclusive {
		if err := unix.IoctlSetInt(fd, unix.TIOCEXCL, 0); err != nil {
			return fmt.Errorf("TIOCEXCL: %w", err)
		}
	}
	return nil
}

// makeControl opens /dev/tty in a process. One that has left the session of the
// terminal gets the slave side itself.
func makeControl(p *process, d *snapshot.Description) (int, error) {
	data, _ := p.stub.Data()
	if err := p.stub.Mem.Write(data, append([]byte("/dev/tty"), 0)); err != nil {
		return -1, err
	}
	num, err := p.call("open /dev/tty", unix.SYS_OPEN, data, uint64(openFlags(d)&^unix.O_CLOEXEC), 0)
	if !errors.Is(err, unix.ENXIO) {
		return int(num), err
	}
	t := p.broker.terminals[d.Detail.(*snapshot.Control).Terminal]
	fd, err := openSlave(t.master, slaveFlags(d))
	if err != nil {
		return -1, err
	}
	defer unix.Close(fd)
	return p.receive(fd)
}

// takeTerminals makes a process that has just become the leader of a session the
// owner of the terminals that it controlled. Its children inherit them.
func (f *family) takeTerminals(session int) error {
	for i := range f.m.Terminals {
		if f.m.Terminals[i].Session != session {
			continue
		}
		slave := f.broker.transfer[f.broker.terminals[i].slave]
		if _, err := f.stubs[session].Leader().Call(unix.SYS_IOCTL, uint64(slave), unix.TIOCSCTTY, 0); err != nil {
			return fmt.Errorf("TIOCSCTTY: %w", err)
		}
	}
	return nil
}

// setForeground puts process groups into the foreground of their terminals.
func (f *family) setForeground() error {
	for i := range f.m.Terminals {
		t := &f.m.Terminals[i]
		stub := f.stubs[t.Session]
		if t.Foreground == 0 || stub == nil || f.stubs[t.Foreground] == nil {
			continue // a group of which nobody is left
		}
		data, _ := stub.Data()
		if err := stub.Mem.Write(data, binary.LittleEndian.AppendUint32(nil, uint32(f.pidOf(t.Foreground)))); err != nil {
			return err
		}
		// Whoever is in the background is stopped by the call, unless it blocks SIGTTOU.
		slave := f.broker.transfer[f.broker.terminals[i].slave]
		err := stub.Leader().BlockSignals()
		if err == nil {
			_, err = stub.Leader().Call(unix.SYS_IOCTL, uint64(slave), unix.TIOCSPGRP, data)
		}
		if err := errors.Join(err, stub.Leader().UnblockSignals()); err != nil {
			return fmt.Errorf("put group %d into the foreground of its terminal: %w", t.Foreground, err)
		}
	}
	return nil
}
