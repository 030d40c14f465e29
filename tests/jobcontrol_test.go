package tests

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// screen collects what programs write to a terminal.
type screen struct {
	pty
	t    *testing.T
	mu   sync.Mutex
	text strings.Builder
	seen int // up to where await has looked
}

func newScreen(t *testing.T) *screen {
	t.Helper()
	s := &screen{pty: newPTY(t, 24, 80), t: t}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("screen: %q", s.text.String())
		}
	})
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := s.master.Read(buf)
			if err != nil {
				return // the test is over
			}
			s.mu.Lock()
			s.text.Write(buf[:n])
			s.mu.Unlock()
		}
	}()
	return s
}

// press sends keys.
func (s *screen) press(keys string) {
	s.t.Helper()
	if _, err := s.master.WriteString(keys); err != nil {
		s.t.Fatal(err)
	}
}

// await waits for a text behind what was awaited before, and returns all up to it.
func (s *screen) await(text string) string {
	s.t.Helper()
	var got string
	eventually(s.t, fmt.Sprintf("%q on the screen", text), func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		rest := s.text.String()[s.seen:]
		i := strings.Index(rest, text)
		if i < 0 {
			return false
		}
		got = rest[:i+len(text)]
		s.seen += len(got)
		return true
	})
	return got
}

// TestJobControl: an interactive shell with a job in the background and one in the
// foreground goes on with both on another terminal, where Ctrl-Z, fg and Ctrl-C
// do what they did, three generations long.
func TestJobControl(t *testing.T) {
	s := newScreen(t)
	images := t.TempDir()
	command := func(args ...string) *parent {
		cmd := exec.Command(crtraceBinary, args...)
		cmd.Dir, cmd.Env = images, []string{"PATH=/usr/bin:/bin", "PS1=prompt> ", "TERM=dumb"}
		s.on(cmd)
		cmd.Stdout, cmd.Stderr = s.slave, s.slave
		p := started(t, cmd)
		t.Cleanup(func() {
			for _, pid := range descendants(cmd.Process.Pid) {
				_ = syscall.Kill(pid, syscall.SIGKILL) // may be gone
			}
			_ = cmd.Process.Kill() // may have ended
			<-p.ended
		})
		return p
	}
	p := command("launch", "bash", "--norc", "--noediting", "-i")
	s.await("prompt> ")
	s.press("echo shell $$.\n")
	s.await("shell $$.")
	var pid int
	line := s.await(".")
	if _, err := fmt.Sscanf(line[strings.Index(line, "shell"):], "shell %d.", &pid); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	s.await("prompt> ")
	s.press("(while sleep 0.01; do :; done; exit 3) &\n")
	s.await("[1]")
	s.await("prompt> ")
	s.press("cat\n")
	s.await("cat\r\n")
	for g := range generations() {
		s.press(fmt.Sprintf("line %d\n", g))
		s.await(fmt.Sprintf("line %d\r\nline %d\r\n", g, g)) // the echo, and cat's answer
		image := filepath.Join(images, fmt.Sprint(g))
		if status, _, stderr := run(t, "checkpoint", "--quiet", "--kill", "--pid", fmt.Sprint(pid), "-o", image); status != 0 {
			t.Fatalf("checkpoint: status %d: %s", status, stderr)
		}
		if status := p.status(t); status != 128+9 {
			t.Fatalf("launch ended with status %d", status)
		}
		s = newScreen(t)
		p = command("restore", "--quiet", "--pids=host", image)
		s.press(fmt.Sprintf("again %d\n", g))
		s.await(fmt.Sprintf("again %d\r\n", g))
		s.await(fmt.Sprintf("again %d\r\n", g))
		s.press("\x1a")
		s.await("Stopped")
		s.press("jobs\n")
		s.await("Running")
		s.await("Stopped")
		s.await("prompt> ")
		s.press("fg\n")
		s.await("cat\r\n")
	}
	s.press("last\n")
	s.await("last\r\nlast\r\n") // fg has said so before cat has the terminal
	s.press("\x03")
	s.await("prompt> ")
	s.press("kill %1; wait %1; echo status $?.; exit 7\n")
	s.await("status 143.")
	if status := p.status(t); status != 7 {
		t.Errorf("the shell ended with status %d, want 7", status)
	}
}
