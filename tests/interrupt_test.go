package tests

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
)

// TestInterruptedCheckpoint: when a checkpoint that a signal has cancelled has
// ended, everything is rolled back: nothing of an image is left, the program runs.
func TestInterruptedCheckpoint(t *testing.T) {
	for _, direct := range []bool{false, true} {
		p := start(t, victim(t, "big"), startOptions{append: true, direct: direct})
		for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
			t.Run(fmt.Sprintf("direct %v signal %d", direct, sig), func(t *testing.T) {
				cmd := exec.Command(crtraceBinary, "checkpoint", "--quiet", "--pid", strconv.Itoa(p.pid), "-o", p.imagePath("image"))
				c := started(t, cmd)
				eventually(t, "the image is being written", func() bool {
					entries, err := os.ReadDir(p.images)
					return err == nil && len(entries) > 0
				})
				if err := cmd.Process.Signal(sig); err != nil {
					t.Fatal(err)
				}
				if got := c.status(t); got != 128+int(sig) {
					t.Fatalf("status %d: %s", got, c.stderr)
				}
				emptyDir(t, p.images)
				if !runs(p.pid) {
					t.Errorf("the program is in state %q, traced by %s", statusField(p.pid, "State"), statusField(p.pid, "TracerPid"))
				}
				p.awaitSteps(3)
			})
		}
		p.generation(0, "--pids=host")
		p.finish()
	}
}

// TestKilledCheckpoint: crtrace is killed while it writes. The program runs on,
// there is no image, and the next checkpoint works.
func TestKilledCheckpoint(t *testing.T) {
	p := start(t, victim(t, "big"), startOptions{append: true, direct: true})
	for range 3 * generations() {
		cmd := exec.Command(crtraceBinary, "checkpoint", "--quiet", "--pid", strconv.Itoa(p.pid), "-o", p.imagePath("image"))
		c := started(t, cmd)
		eventually(t, "the image is being written", func() bool {
			entries, err := os.ReadDir(p.images)
			return err == nil && len(entries) > 0
		})
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if got := c.status(t); got != 128+9 {
			t.Fatalf("status %d: %s", got, c.stderr)
		}
		if _, err := os.Stat(p.imagePath("image")); err == nil {
			t.Fatal("there is an image")
		}
		p.awaitSteps(3)
		if err := os.RemoveAll(p.images); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(p.images, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	p.generation(0, "--pids=host")
	p.finish()
}
