package tests

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/crtrace/crtrace/tests/internal/victims"
)

// pty is a pseudo terminal: what the test holds, and what programs get.
type pty struct{ master, slave *os.File }

func newPTY(t *testing.T, rows, columns uint16) pty {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = master.Close() })
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = slave.Close() })
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns}); err != nil {
		t.Fatal(err)
	}
	return pty{master, slave}
}

// on makes the terminal the standard input and the controlling terminal of a
// command, in a session of its own.
func (p pty) on(cmd *exec.Cmd) {
	cmd.Stdin = p.slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
}

func (p pty) settings(t *testing.T) unix.Termios {
	t.Helper()
	s, err := unix.IoctlGetTermios(int(p.slave.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return *s
}

// TestTerminal: three generations on three terminals. Each gets the program's
// settings, tells it of its window, and is put right when the program is killed.
func TestTerminal(t *testing.T) {
	tty := newPTY(t, 24, 80)
	before := tty.settings(t)
	p := start(t, victims.Terminal, startOptions{append: true, tty: &tty})
	for g := range generations() {
		image := p.checkpoint(fmt.Sprintf("image-%d", g))
		if diff := cmp.Diff(before, tty.settings(t)); diff == "" {
			t.Error("the program has not changed its terminal")
		}
		p.kill()
		if diff := cmp.Diff(before, tty.settings(t)); diff != "" {
			t.Errorf("generation %d: the killed program has left its terminal so (-want +got):\n%s", g, diff)
		}
		tty = newPTY(t, 30+uint16(g), 100)
		p.tty = &tty
		p.restore(image, "--pids=host")
		window := fmt.Sprintf("slept window %d 100\n", 30+g)
		p.await("the program is told of its window", func() bool { return slices.Contains(p.lines(), window) })
		p.awaitSteps(5)
	}
	// The terminal's own keys reach the program.
	if _, err := tty.master.Write([]byte{'k' & 31}); err != nil {
		t.Fatal(err)
	}
	if got := p.parent.status(t); got != 128+int(syscall.SIGINT) {
		t.Errorf("after the key for SIGINT: status %d", got)
	}
}

// TestTerminalInBackground: a restore in the background leaves the terminal alone.
func TestTerminalInBackground(t *testing.T) {
	tty := newPTY(t, 24, 80)
	p := start(t, victims.Terminal, startOptions{append: true, tty: &tty})
	image := p.checkpoint("image", "--kill")
	p.awaitKilled()
	before := tty.settings(t)
	shell := exec.Command("setsid", "--ctty", "sh", "-c",
		`set -m; "$0" restore --quiet --pids=host "$1" & wait $!; echo "status $?" >&2`, crtraceBinary, image)
	shell.Stdin, shell.Stdout = tty.slave, tty.slave
	started(t, shell).status(t)
	if last := p.lines()[len(p.lines())-1]; !strings.HasPrefix(last, "FAIL ") {
		t.Errorf("the program did not see that it has no say over the terminal: %q", last)
	}
	if diff := cmp.Diff(before, tty.settings(t)); diff != "" {
		t.Errorf("the terminal was changed from the background (-before +after):\n%s", diff)
	}
}
