package tests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/crtrace/crtrace/tests/internal/victims"
)

// upgradable builds a program with a library of its own, into a directory where
// both can be replaced.
func upgradable(t *testing.T, dir string) (program, library string) {
	t.Helper()
	program, library = filepath.Join(dir, "program"), filepath.Join(dir, "libvalue.so")
	build(t, victims.Victim{Name: "counter-dynamic", Source: "counter.c"}) // skips where there is no compiler
	for _, args := range [][]string{
		{"-shared", "-fPIC", "-DLIBRARY", "-Wl,-soname,libvalue.so", "-o", library + ".new"},
		{"-o", program + ".new", library + ".new", "-Wl,-rpath," + dir},
	} {
		cmd := exec.Command("gcc", append([]string{"-O2", "upgrade.c"}, args...)...)
		cmd.Dir = "victims"
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
	}
	return program, library
}

// put replaces a file in the way of a package manager.
func put(t *testing.T, path string) {
	t.Helper()
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// TestUpgrade: files that are replaced after the checkpoint don't matter: the
// image has copies of what the program runs from.
func TestUpgrade(t *testing.T) {
	for _, what := range []string{"library", "program", "both", "removed"} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			program, library := upgradable(t, dir)
			put(t, library)
			put(t, program)
			p := start(t, victims.Victim{Name: "upgrade", Source: "upgrade.c"}, startOptions{append: true, binary: program})
			image := p.checkpoint("image-0")
			p.awaitSteps(1)
			p.kill()
			for _, path := range []string{library, program} {
				switch {
				case what == "removed":
					if err := os.Remove(path); err != nil {
						t.Fatal(err)
					}
				case what == "both", what == "library" && path == library, what == "program" && path == program:
					if err := os.WriteFile(path+".new", []byte("an upgrade of "+path), 0o700); err != nil {
						t.Fatal(err)
					}
					put(t, path)
				}
			}
			for g := range 2 { // the second image is taken of a program that runs from copies
				p.restore(image, "--pids=host")
				exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", p.pid))
				if err != nil || exe == "" || what == "library" && exe != program {
					t.Errorf("generation %d: /proc/PID/exe leads to %q, %v", g, exe, err)
				}
				if name := statusField(p.pid, "Name"); name != "program" {
					t.Errorf("generation %d: its name is %q", g, name)
				}
				p.awaitSteps(3)
				if g == 0 {
					image = p.checkpoint("image-1")
					p.kill()
				}
			}
			p.finish()
		})
	}
}

// TestUpgradeBefore: a program that runs from files which were replaced or removed
// before the checkpoint: no name leads to them any more.
func TestUpgradeBefore(t *testing.T) {
	for _, what := range []string{"library", "program", "both"} {
		t.Run(what, func(t *testing.T) {
			program, library := upgradable(t, t.TempDir())
			put(t, library)
			put(t, program)
			p := start(t, victims.Victim{Name: "upgrade", Source: "upgrade.c"}, startOptions{append: true, binary: program})
			for name, path := range map[string]string{"library": library, "program": program} {
				if what != name && what != "both" {
					continue
				}
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
			}
			for g := range generations() {
				p.checkpoint(fmt.Sprintf("live-%d", g))
				p.awaitSteps(1)
				image := p.checkpoint(fmt.Sprintf("image-%d", g), "--kill")
				p.awaitKilled()
				p.restore(image, "--pids=host")
				p.awaitSteps(3)
			}
			p.finish()
		})
	}
}

// TestTwoAtOnce: two restores that want ids of the host at the same time don't get
// into each other's way.
func TestTwoAtOnce(t *testing.T) {
	const restores = 2
	var all [restores]*program
	var images, reached [restores]string
	for i, name := range []string{"counter", "threads16"} {
		all[i] = start(t, victim(t, name), startOptions{append: true})
	}
	for g := range generations() {
		for i, p := range all {
			images[i] = p.checkpoint(fmt.Sprintf("image-%d", g), "--kill")
			p.awaitKilled()
			reached[i] = fmt.Sprint(p.lastStep())
		}
		for i, p := range all {
			p.restoreOnly(images[i], "--pids=auto")
		}
		for i, p := range all {
			p.await("the restored program goes on", func() bool { return fmt.Sprint(p.lastStep()) != reached[i] })
			if !runs(p.pid) {
				t.Errorf("generation %d: process %d does not run", g, p.pid)
			}
		}
	}
	for _, p := range all {
		p.finish()
	}
}
