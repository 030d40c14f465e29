package tests

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/crtrace/crtrace/tests/internal/victims"
)

// TestVictimsUninterrupted runs every victim without crtrace: it must pass.
func TestVictimsUninterrupted(t *testing.T) {
	for _, v := range append([]victims.Victim{victims.Stopped, victims.Terminal, victims.Waiting}, victims.All...) {
		t.Run(v.Name, func(t *testing.T) {
			lines, status := native(t, v, 25, 0)
			if status != 0 {
				t.Fatalf("status %d: %s", status, lines[len(lines)-1])
			}
			if err := checkOutput(lines); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestVictimsNoticeDamage lets every victim damage itself in each way that it
// knows: it must fail. A victim that sees nothing proves nothing.
func TestVictimsNoticeDamage(t *testing.T) {
	if testing.Short() {
		t.Skip("short")
	}
	for _, v := range append([]victims.Victim{victims.Stopped, victims.Terminal, victims.Waiting}, victims.All...) {
		for k := 1; k <= v.Tampers; k++ {
			t.Run(fmt.Sprintf("%s/%d", v.Name, k), func(t *testing.T) {
				t.Parallel()
				lines, status := native(t, v, 400, k)
				text := strings.Join(lines, "")
				if status != 1 && status < 128 || status == 1 && !strings.Contains(text, "FAIL ") {
					t.Fatalf("the damage was not seen: status %d, last line %q", status, lines[len(lines)-1])
				}
			})
		}
	}
}

// native runs a victim without crtrace.
func native(t *testing.T, v victims.Victim, steps, tamper int) ([]string, int) {
	t.Helper()
	dir := t.TempDir()
	slack := 30000
	if tamper > 0 {
		slack = 500
	}
	args := append([]string{dir + "/stop", strconv.Itoa(steps), strconv.Itoa(slack), strconv.Itoa(tamper)}, v.Args...)
	cmd := exec.Command(build(t, v), args...)
	out, err := os.Create(dir + "/out")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd.Dir, cmd.Stdout = dir, out
	if v.TTY {
		newPTY(t, 24, 80).on(cmd)
	}
	status := started(t, cmd).status(t)
	p := &program{t: t, dir: dir}
	if status == 77 {
		skip(t, needKernel, strings.TrimSpace(strings.Join(p.lines(), "")))
	}
	return append([]string{}, p.lines()...), status
}

// generations is how many times a victim dies and comes back.
func generations() int {
	if testing.Short() {
		return 1
	}
	return 3
}

// TestLaunched takes every victim through three generations: a checkpoint that
// it survives, a checkpoint, SIGKILL, a restore.
func TestLaunched(t *testing.T) {
	for _, v := range victims.All {
		t.Run(v.Name, func(t *testing.T) {
			p := start(t, v, startOptions{append: true})
			if v.MayRefuse && p.refused() {
				return
			}
			for g := range generations() {
				p.generation(g, "--pids=host")
			}
			p.finish()
		})
	}
}

// TestLive takes images of every victim again and again: it must not notice.
func TestLive(t *testing.T) {
	for _, v := range victims.All {
		t.Run(v.Name, func(t *testing.T) {
			p := start(t, v, startOptions{append: true})
			if v.MayRefuse && p.refused() {
				return
			}
			for g := range 2 * generations() {
				p.checkpoint(fmt.Sprintf("live-%d", g))
				p.awaitSteps(3)
			}
			p.finish()
		})
	}
}

// TestByPID does the same to victims that were not started by launch.
func TestByPID(t *testing.T) {
	if yamaForbids() {
		skip(t, needYama, "see crtrace doctor")
	}
	for _, v := range victims.All {
		t.Run(v.Name, func(t *testing.T) {
			p := start(t, v, startOptions{direct: true})
			if v.MayRefuse && p.refused() {
				return
			}
			p.generation(0, "--pids=host")
			p.finish()
		})
	}
}

// refused says whether crtrace refuses to checkpoint the program; then the
// program must go on to its end unharmed.
func (p *program) refused() bool {
	p.t.Helper()
	image := p.imagePath("may-refuse")
	status, _, stderr := run(p.t, "checkpoint", "--quiet", "--pid", strconv.Itoa(p.pid), "-o", image)
	if status == 0 {
		return false
	}
	refused(p.t, status, stderr, []int{3}, strconv.Itoa(p.pid))
	emptyDir(p.t, p.images)
	p.unharmed()
	return true
}

// generation is one life, death and return.
func (p *program) generation(g int, flags ...string) {
	p.t.Helper()
	p.checkpoint(fmt.Sprintf("live-%d", g))
	p.awaitSteps(5)
	image := p.checkpoint(fmt.Sprintf("image-%d", g))
	p.awaitSteps(1)
	p.kill()
	p.restore(image, flags...)
	p.awaitSteps(5)
}

// TestKill: with --kill the program ends when the image is complete, and not a
// step later, so that even a pipe shows no gap and no repeat.
func TestKill(t *testing.T) {
	p := start(t, victim(t, "counter"), startOptions{})
	for g := range generations() {
		image := p.checkpoint(fmt.Sprintf("image-%d", g), "--kill")
		p.awaitKilled()
		before := p.lastStep()
		p.restore(image, "--pids=host")
		if entries, err := os.ReadDir(image + ".tails"); err == nil {
			t.Errorf("a tail was cut off after step %d: %v", before, entries)
		}
	}
	p.finish()
}

// TestOldImage: an image can be restored more than once, and after newer ones
// were taken.
func TestOldImage(t *testing.T) {
	p := start(t, victim(t, "fds"), startOptions{append: true})
	first := p.checkpoint("first")
	p.awaitSteps(5)
	p.checkpoint("second")
	p.awaitSteps(5)
	p.kill()
	for range generations() {
		p.restore(first, "--pids=host")
		p.awaitSteps(2)
		p.kill()
	}
	p.restore(first, "--pids=host")
	p.finish()
}

// victim returns a victim by its name.
func victim(t *testing.T, name string) victims.Victim {
	t.Helper()
	v, err := victims.ByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return v
}
