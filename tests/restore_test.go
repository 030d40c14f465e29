package tests

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/crtrace/crtrace/tests/internal/victims"
)

// TestStopped: a program that SIGSTOP has stopped stays stopped through
// checkpoint and restore, and SIGCONT wakes it.
func TestStopped(t *testing.T) {
	p := start(t, victims.Stopped, startOptions{direct: true, append: true})
	stopped := func() bool { return strings.HasPrefix(statusField(p.pid, "State"), "T") }
	eventually(t, "the victim stops itself", stopped)
	image := p.imagePath("image")
	if status, _, stderr := run(t, "checkpoint", "--quiet", "--pid", strconv.Itoa(p.pid), "-o", image); status != 0 {
		t.Fatalf("checkpoint: status %d: %s", status, stderr)
	}
	if !stopped() || statusField(p.pid, "TracerPid") != "0" {
		t.Fatalf("after the checkpoint the state is %q", statusField(p.pid, "State"))
	}
	p.kill()
	p.restoreOnly(image, "--pids=host")
	p.await("the restored program is stopped", func() bool {
		return p.owned() && stopped() && statusField(p.pid, "TracerPid") == "0"
	})
	if err := syscall.Kill(p.pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	p.await("SIGCONT wakes it", func() bool { return p.lastStep() > 12 })
	p.finish()
}

// TestSleepsAway: a wait that was interrupted by death ends after the time that
// was left, not after its whole time once more.
func TestSleepsAway(t *testing.T) {
	p := start(t, victim(t, "sleeps"), startOptions{append: true})
	var away time.Duration
	for g := range generations() {
		gone := time.Now()
		image := p.checkpoint(fmt.Sprintf("image-%d", g))
		p.kill()
		p.restore(image, "--pids=host")
		away += time.Since(gone)
		p.awaitSteps(80)
	}
	p.finish()
	const tolerance = 700 * time.Millisecond // of a busy machine
	rounds := 0
	for _, line := range p.lines() {
		var name string
		var asked, took int64
		if n, _ := fmt.Sscanf(line, "slept %s %d %d\n", &name, &asked, &took); n != 3 {
			continue
		}
		rounds++
		late := time.Duration(took-asked) * time.Millisecond
		if late > away+tolerance {
			t.Errorf("%s of %d ms took %d ms, away were only %v", name, asked, took, away)
		}
	}
	if rounds < 5 && !testing.Short() {
		t.Errorf("only %d waits came to an end", rounds)
	}
}

// TestPIDModes: in a namespace of its own a program keeps its ids too; with
// --pids=any a program that does not care goes on under another id.
func TestPIDModes(t *testing.T) {
	t.Run("namespace", func(t *testing.T) {
		needUserNamespace(t)
		p := start(t, victim(t, "threads16"), startOptions{append: true})
		image := p.checkpoint("image", "--kill")
		p.awaitKilled()
		p.restore(image, "--pids=namespace")
		p.awaitSteps(5)
		p.finish()
	})
	t.Run("any", func(t *testing.T) {
		p := start(t, victim(t, "counter"), startOptions{append: true})
		image := p.checkpoint("image")
		p.kill()
		p.restore(image, "--pids=any")
		p.awaitSteps(5)
		p.finish()
	})
	t.Run("taken", func(t *testing.T) {
		p := start(t, victim(t, "counter"), startOptions{append: true})
		image := p.checkpoint("image")
		status, _, stderr := run(t, "restore", "--pids=host", image)
		refused(t, status, stderr, []int{1, 3}, strconv.Itoa(p.pid))
		p.unharmed()
	})
}

// needUserNamespace asks the kernel instead of reading settings.
func needUserNamespace(t *testing.T) {
	t.Helper()
	cmd := exec.Command("/bin/true")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWPID}
	if err := cmd.Run(); err != nil {
		skip(t, needUserNS, err.Error())
	}
}

// TestPipeOutput: a standard output that leads out of the program becomes the
// standard output of restore.
func TestPipeOutput(t *testing.T) {
	dir := t.TempDir()
	victim := build(t, victim(t, "counter"))
	var first, second bytes.Buffer
	cmd := exec.Command(crtraceBinary, "launch", victim, dir+"/stop", "1000000", "30000", "0")
	cmd.Stdout = &first
	launch := started(t, cmd)
	var pid int
	eventually(t, "the program runs", func() bool {
		if c := children(cmd.Process.Pid); len(c) == 1 {
			pid = c[0]
		}
		return pid != 0 && strings.HasPrefix(statusField(pid, "Name"), "counter")
	})
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	image := filepath.Join(dir, "image")
	if status, _, stderr := run(t, "checkpoint", "--kill", "--pid", strconv.Itoa(pid), "-o", image); status != 0 {
		t.Fatalf("checkpoint: status %d: %s", status, stderr)
	}
	launch.status(t)
	if err := os.WriteFile(dir+"/stop", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	restore := exec.Command(crtraceBinary, "restore", "--quiet", image)
	restore.Stdout = &second
	if got := started(t, restore).status(t); got != 0 {
		t.Fatalf("restore: status %d", got)
	}
	var lines []string
	for line := range strings.Lines(first.String() + second.String()) {
		lines = append(lines, line)
	}
	if err := checkOutput(lines); err != nil {
		t.Fatal(err)
	}
}

// TestSaveFiles: with --save-files the image holds the files that are written.
func TestSaveFiles(t *testing.T) {
	p := start(t, victim(t, "counter"), startOptions{})
	image := p.checkpoint("image", "--save-files")
	p.awaitSteps(2)
	p.kill()
	if err := os.Remove(p.path("out")); err != nil {
		t.Fatal(err)
	}
	p.restoreOnly(image)
	p.await("the output file is back", func() bool {
		_, err := os.Stat(p.path("out"))
		return err == nil && p.lastStep() > 5
	})
	p.finish()
}

// TestCutTail: what a program wrote between checkpoint and death is cut off its
// files, and kept beside the image.
func TestCutTail(t *testing.T) {
	p := start(t, victim(t, "counter"), startOptions{append: true})
	image := p.checkpoint("image")
	p.awaitSteps(10)
	p.kill()
	whole := strings.Join(p.lines(), "")
	p.restore(image)
	found := false
	err := filepath.WalkDir(image+".tails", func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		found = found || len(text) > 40 && strings.HasSuffix(whole, string(text))
		return err
	})
	if err != nil || !found {
		t.Errorf("the cut tail is not in %s.tails (%v)", image, err)
	}
	p.finish()
}

// TestDetach: restore --detach prints the pid and leaves the program running.
func TestDetach(t *testing.T) {
	p := start(t, victim(t, "counter"), startOptions{append: true})
	image := p.checkpoint("image", "--kill")
	p.awaitKilled()
	status, stdout, stderr := run(t, "restore", "--quiet", "--pids=host", "--detach", image)
	if status != 0 || stdout != fmt.Sprintln(p.pid) {
		t.Fatalf("restore --detach: status %d, stdout %q, stderr %s", status, stdout, stderr)
	}
	eventually(t, "the detached program goes on", func() bool { return p.lastStep() > 20 })
	if err := os.WriteFile(p.stopfile(), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the detached program ends", func() bool { return !alive(p.pid) })
	if err := checkOutput(p.lines()); err != nil {
		t.Fatal(err)
	}
}

// TestDryRun prints a plan and starts nothing.
func TestDryRun(t *testing.T) {
	p := start(t, victim(t, "fds"), startOptions{append: true})
	image := p.checkpoint("image", "--kill")
	p.awaitKilled()
	before := p.lines()
	status, stdout, stderr := run(t, "restore", "--dry-run", image)
	if status != 0 || !strings.Contains(stdout, strconv.Itoa(p.pid)) {
		t.Fatalf("restore --dry-run: status %d, stdout %q, stderr %s", status, stdout, stderr)
	}
	if alive(p.pid) || len(p.lines()) != len(before) {
		t.Fatal("a dry run did something")
	}
	for _, command := range []string{"verify", "inspect"} {
		if status, _, stderr := run(t, command, image); status != 0 {
			t.Errorf("%s: status %d: %s", command, status, stderr)
		}
	}
	p.restore(image)
	p.finish()
}

// TestExitStatus: launch and restore end as the program ends.
func TestExitStatus(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		want int
	}{
		{"success", []string{"/bin/true"}, 0},
		{"status", []string{"/bin/sh", "-c", "exit 7"}, 7},
		{"signal", []string{"/bin/sh", "-c", "kill -TERM $$"}, 128 + 15},
		{"not found", []string{"/nonexistent/program"}, 127},
		{"not executable", []string{"/etc/passwd"}, 126},
		{"nothing", nil, 125},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, _, stderr := run(t, append([]string{"launch"}, c.args...)...); got != c.want {
				t.Errorf("status %d, want %d: %s", got, c.want, stderr)
			}
		})
	}
	t.Run("restored and terminated", func(t *testing.T) {
		p := start(t, victim(t, "counter"), startOptions{append: true})
		p.generation(0, "--pids=host")
		if err := syscall.Kill(p.parent.cmd.Process.Pid, syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if got := p.parent.status(t); got != 128+15 {
			t.Errorf("restore passed SIGTERM on and ended with %d", got)
		}
		if alive(p.pid) {
			t.Error("the program did not get the signal")
		}
	})
}

// TestStress repeats checkpoint and restore CRTRACE_TEST_STRESS times.
func TestStress(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv("CRTRACE_TEST_STRESS"))
	if err != nil || n <= 0 {
		return // not asked for: see "make stress"
	}
	for _, name := range []string{"counter", "threads16", "sleeps", "signals", "rseq", "goapp"} {
		t.Run(name, func(t *testing.T) {
			p := start(t, victim(t, name), startOptions{append: true})
			for g := range n {
				p.generation(g, "--pids=host")
				for _, image := range []string{"live", "image"} {
					if err := os.RemoveAll(p.imagePath(fmt.Sprintf("%s-%d", image, g))); err != nil {
						t.Fatal(err)
					}
				}
			}
			p.finish()
		})
	}
}

// TestDemo: the demonstration of the README works.
func TestDemo(t *testing.T) {
	cmd := exec.Command("sh", "demo.sh")
	cmd.Env = append(os.Environ(), "CRTRACE="+crtraceBinary)
	if status, stdout, stderr := runCommand(t, cmd); status != 0 {
		t.Fatalf("status %d\n%s%s", status, stdout, stderr)
	}
}
