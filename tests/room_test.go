package tests

import (
	"os"
	"os/exec"
	"strconv"
	"testing"
)

// noRoom asks for a checkpoint that must fail for want of room: with a line that
// says so, no image, and a program that has not noticed.
func (p *program) noRoom(image, mention string) {
	p.t.Helper()
	status, stdout, stderr := run(p.t, "checkpoint", "--quiet", "--pid", strconv.Itoa(p.pid), "-o", image)
	refused(p.t, status, stderr, []int{1}, image, mention)
	if stdout != "" {
		p.t.Errorf("stdout is %q", stdout)
	}
	p.unharmed()
}

// TestFileSizeLimit: an image that is larger than a file may be. The kernel sends
// SIGXFSZ to whoever writes it; a supervisor must not pass that on.
func TestFileSizeLimit(t *testing.T) {
	limited := []string{"sh", "-c", `ulimit -f 64 && exec "$@"`, "sh"}
	t.Run("launched", func(t *testing.T) {
		p := start(t, victim(t, "counter"), startOptions{append: true, wrap: limited})
		p.noRoom(p.imagePath("image"), "ulimit -f")
		emptyDir(t, p.images)
	})
	t.Run("by pid", func(t *testing.T) {
		p := start(t, victim(t, "counter"), startOptions{append: true})
		cmd := exec.Command(limited[0], append(limited[1:], crtraceBinary, "checkpoint", "--quiet", "--runtime-dir", t.TempDir(),
			"--pid", strconv.Itoa(p.pid), "-o", p.imagePath("image"))...)
		status, _, stderr := runCommand(t, cmd)
		refused(t, status, stderr, []int{1}, "ulimit -f")
		emptyDir(t, p.images)
		p.unharmed()
	})
}

// TestFullFileSystem: the file system of the image fills up. It is mounted in a
// namespace that the launched program lives in.
func TestFullFileSystem(t *testing.T) {
	needUserNamespace(t)
	small := t.TempDir()
	mount := []string{"unshare", "--map-current-user", "--mount", "--keep-caps", "sh", "-c",
		`mount -t tmpfs -o size=256k,mode=0700 none "$0" && exec "$@"`, small}
	if text, err := exec.Command(mount[0], append(mount[1:], "true")...).CombinedOutput(); err != nil {
		skip(t, needUserNS, string(text))
	}
	p := start(t, victim(t, "counter"), startOptions{append: true, wrap: mount})
	p.noRoom(small+"/image", "no space left")
	if entries, err := os.ReadDir(small); err != nil || len(entries) != 0 {
		t.Errorf("outside the namespace: %v, %v", entries, err)
	}
}

// TestNoMemory: a restore that may not have as much address space as the program
// had. It says so, and leaves nothing running.
func TestNoMemory(t *testing.T) {
	p := start(t, victim(t, "maps"), startOptions{append: true})
	image := p.checkpoint("image", "--kill")
	p.awaitKilled()
	limited := exec.Command("sh", "-c", `ulimit -v 4000000 && exec "$@"`, "sh", crtraceBinary, "restore", "--pids=host", image)
	status, _, stderr := runCommand(t, limited)
	refused(t, status, stderr, []int{1, 3}, image, "cannot allocate memory")
	if p.owned() {
		t.Fatal("a part of the program is left")
	}
	p.restore(image, "--pids=host")
	p.finish()
}
