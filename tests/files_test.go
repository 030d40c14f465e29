package tests

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/crtrace/crtrace/tests/internal/victims"
)

// TestMappedFile: a file that is written through a mapping is memory too. It comes
// back with the content of the checkpoint, whether it was changed since or is gone
// with its directory.
func TestMappedFile(t *testing.T) {
	for _, c := range []struct {
		name   string
		meddle func(data string) error
		flags  []string
	}{
		{"changed", func(string) error { return nil }, nil},
		{"removed", func(data string) error { return os.Remove(filepath.Join(data, "mapped")) }, nil},
		{"all gone", os.RemoveAll, []string{"--files", "log=save"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := start(t, victim(t, "files"), startOptions{append: true})
			image := p.checkpoint("image", c.flags...)
			p.awaitSteps(5)
			p.kill()
			if err := c.meddle(p.path("data")); err != nil {
				t.Fatal(err)
			}
			p.restore(image)
			p.generation(1)
			p.finish()
		})
	}
}

// TestMappedByOthers: a file that somebody else has mapped as well is not put back
// behind their back.
func TestMappedByOthers(t *testing.T) {
	p := start(t, victim(t, "files"), startOptions{append: true})
	image := p.checkpoint("image")
	p.awaitSteps(5)
	p.kill()
	path := p.path("data/mapped")
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	other, err := syscall.Mmap(int(f.Fd()), 0, 4096, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	status, _, stderr := run(t, "restore", image)
	refused(t, status, stderr, []int{3}, path, strconv.Itoa(os.Getpid()), "ignore")
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the refused restore has changed the file (%v)", err)
	}
	if err := syscall.Munmap(other); err != nil {
		t.Fatal(err)
	}
	p.restore(image)
	p.finish()
}

// TestFileRules: what becomes of the output file of a program whose end was not
// part of the checkpoint.
func TestFileRules(t *testing.T) {
	died := func(t *testing.T, flags ...string) (p *program, image string, lines []string) {
		p = start(t, victim(t, "counter"), startOptions{})
		image = p.checkpoint("image", flags...)
		p.awaitSteps(5)
		p.kill()
		return p, image, p.lines()
	}
	for where, flags := range map[string][2][]string{
		"checkpoint": {{"--files", "*ut=append"}, nil},
		"restore":    {nil, {"--files", "out=track", "--files", "out=append"}},
	} {
		t.Run("append at "+where, func(t *testing.T) {
			p, image, before := died(t, flags[0]...)
			p.restoreOnly(image, flags[1]...)
			p.await("it goes on behind what is there", func() bool { return len(p.lines()) > len(before)+3 })
			if all := p.lines(); strings.Join(all[:len(before)], "") != strings.Join(before, "") {
				t.Errorf("%q was %q", all[:len(before)], before)
			}
		})
	}
	t.Run("ignore", func(t *testing.T) {
		p, image, _ := died(t)
		if err := os.Remove(p.path("out")); err != nil {
			t.Fatal(err)
		}
		p.restoreOnly(image, "--files", p.dir+"/=ignore")
		p.await("it goes on with a new file", func() bool { _, err := os.Stat(p.path("out")); return err == nil && p.lastStep() > 5 })
	})
	t.Run("track", func(t *testing.T) {
		p, image, before := died(t, "--save-files")
		p.restore(image, "--files", "out=track")
		if p.lines()[0] != before[0] {
			t.Errorf("the file begins with %q", p.lines()[0])
		}
		p.finish()
	})
	t.Run("refused", func(t *testing.T) {
		p, image, _ := died(t)
		status, _, stderr := run(t, "restore", "--files", "out=save", image)
		refused(t, status, stderr, []int{3}, p.path("out"), "not in the image")
		status, _, stderr = run(t, "restore", "--files", "out=keep", image)
		refused(t, status, stderr, []int{2}, "keep", "ignore")
		if err := os.Remove(p.path("out")); err != nil {
			t.Fatal(err)
		}
		status, _, stderr = run(t, "restore", image)
		refused(t, status, stderr, []int{3}, p.path("out"), "gone")
		if entries, err := os.ReadDir(p.dir); err != nil || len(entries) != 1 { // its stderr
			t.Errorf("the refused restore has left %v (%v)", entries, err)
		}
	})
}

// TestMoved: the job's directory has another name after the checkpoint.
func TestMoved(t *testing.T) {
	p := start(t, victim(t, "files"), startOptions{append: true})
	image := p.checkpoint("image", "--kill")
	p.awaitKilled()
	old, now := p.dir, filepath.Join(t.TempDir(), "elsewhere")
	if err := os.Rename(old, now); err != nil {
		t.Fatal(err)
	}
	status, _, stderr := run(t, "restore", image)
	refused(t, status, stderr, []int{3}, old, "--remap")
	p.dir = now
	p.restore(image, "--remap", old+"="+now)
	p.awaitSteps(5)
	if got, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(p.pid), "cwd")); err == nil && got != now {
		t.Errorf("it works in %s, want %s", got, now)
	}
	p.dir = old // where it looks for its stop file
	if err := os.Mkdir(old, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(now, "out"), filepath.Join(old, "out")); err != nil {
		t.Fatal(err)
	}
	p.finish()
}

// TestCwd: another working directory.
func TestCwd(t *testing.T) {
	p := start(t, victim(t, "counter"), startOptions{append: true})
	image := p.checkpoint("image", "--kill")
	p.awaitKilled()
	dir := t.TempDir()
	p.restore(image, "--pids=host", "--cwd", dir)
	if got, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(p.pid), "cwd")); err != nil || got != dir {
		t.Errorf("it works in %s (%v), want %s", got, err, dir)
	}
	p.finish()
}

// TestTCPClose: with --tcp-close a connection to outside is no reason to refuse.
// The running program keeps it; the restored one finds it reset, once.
func TestTCPClose(t *testing.T) {
	p := start(t, victims.Refused, startOptions{append: true, args: append(append([]string{"tcp-again"}, echo(t)...), "2")})
	for range 2 {
		image := p.checkpoint("image", "--tcp-close")
		p.awaitSteps(5)
		p.kill()
		p.restore(image)
		if err := os.RemoveAll(image); err != nil {
			t.Fatal(err)
		}
	}
	p.awaitSteps(5)
	p.finish()
}
