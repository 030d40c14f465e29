package tests

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/crtrace/crtrace/tests/internal/victims"
)

// restoreInside restores a program into a namespace of its own. From then on
// p.pid is its id on the host.
func (p *program) restoreInside(image string, flags ...string) {
	p.t.Helper()
	p.restore(image, append(flags, "--pids=namespace")...)
	inner := p.pid
	p.pid = 0
	for _, pid := range descendants(p.parent.cmd.Process.Pid) {
		ids := strings.Fields(statusField(pid, "NSpid"))
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)) // gone: no text
		if bytes.Contains(text, []byte(p.stopfile())) && len(ids) > 1 {
			p.pid = pid // parents come first
			break
		}
	}
	if p.pid == 0 {
		p.t.Fatalf("process %d of the namespace is not among the descendants of restore", inner)
	}
}

// TestNamespace: three generations in namespaces; each image is taken by the id
// on the host, and the program has its original ids and no capabilities.
func TestNamespace(t *testing.T) {
	needUserNamespace(t)
	for _, name := range []string{"counter", "counter-i386", "threads16", "signals", "sleeps", "fds", "sysv", "mqueue", "goapp"} {
		t.Run(name, func(t *testing.T) {
			p := start(t, victim(t, name), startOptions{append: true})
			original := p.pid
			for g := range generations() {
				p.checkpoint(fmt.Sprintf("live-%d", g))
				image := p.checkpoint(fmt.Sprintf("image-%d", g))
				p.awaitSteps(1)
				p.kill()
				p.restoreInside(image)
				if ids := strings.Fields(statusField(p.pid, "NSpid")); ids[len(ids)-1] != strconv.Itoa(original) {
					t.Errorf("generation %d: its ids are %v, the last must be %d", g, ids, original)
				}
				for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapAmb"} {
					if got := strings.Trim(statusField(p.pid, set), "0"); got != "" {
						t.Errorf("generation %d: %s is %s", g, set, got)
					}
				}
				p.awaitSteps(5)
			}
			p.finish()
		})
	}
}

// TestNamespaceThenHost: an image that was taken in a namespace can be restored on
// the host.
func TestNamespaceThenHost(t *testing.T) {
	needUserNamespace(t)
	p := start(t, victim(t, "threads16"), startOptions{append: true})
	original := p.pid
	image := p.checkpoint("first", "--kill")
	p.awaitKilled()
	p.restoreInside(image)
	image = p.checkpoint("second", "--kill")
	p.awaitKilled()
	p.pid = original
	p.restore(image, "--pids=host")
	p.awaitSteps(5)
	p.finish()
}

// TestNamespaceEnds: status and signals pass through, and nothing outlives the
// outer crtrace.
func TestNamespaceEnds(t *testing.T) {
	needUserNamespace(t)
	inside := func(t *testing.T) *program {
		p := start(t, victim(t, "counter"), startOptions{append: true})
		image := p.checkpoint("image", "--kill")
		p.awaitKilled()
		p.restoreInside(image)
		return p
	}
	t.Run("outer crtrace is killed", func(t *testing.T) {
		p := inside(t)
		all := descendants(p.parent.cmd.Process.Pid)
		if err := p.parent.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if got := p.parent.status(t); got != 128+9 {
			t.Errorf("status %d", got)
		}
		for _, pid := range all {
			eventually(t, fmt.Sprintf("process %d ends", pid), func() bool { return !runs(pid) })
		}
	})
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGUSR1} {
		t.Run("signal "+strconv.Itoa(int(sig)), func(t *testing.T) {
			p := inside(t)
			if err := p.parent.cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			if got := p.parent.status(t); got != 128+int(sig) {
				t.Errorf("status %d, want %d", got, 128+int(sig))
			}
		})
	}
	t.Run("status", func(t *testing.T) {
		const want = 7
		dir := t.TempDir()
		script := fmt.Sprintf("echo ready; while [ ! -e %s/stop ]; do :; done; exit %d", dir, want)
		out, err := os.Create(filepath.Join(dir, "out"))
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		cmd := exec.Command(crtraceBinary, "launch", "/bin/sh", "-c", script)
		cmd.Stdout = out
		launch := started(t, cmd)
		t.Cleanup(func() { _ = cmd.Process.Kill() }) // it may have ended
		eventually(t, "the shell runs", func() bool {
			st, err := out.Stat()
			return err == nil && st.Size() > 0
		})
		pid := children(cmd.Process.Pid)[0]
		image := filepath.Join(dir, "image")
		if status, _, stderr := run(t, "checkpoint", "--kill", "--pid", strconv.Itoa(pid), "-o", image); status != 0 {
			t.Fatalf("checkpoint: status %d: %s", status, stderr)
		}
		launch.status(t)
		if err := os.WriteFile(filepath.Join(dir, "stop"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, _, stderr := run(t, "restore", "--quiet", "--pids=namespace", image); got != want {
			t.Errorf("status %d, want %d: %s", got, want, stderr)
		}
	})
}

// setClock gives an image another reading of a clock.
func setClock(t *testing.T, image, clock string, nanoseconds int64) {
	t.Helper()
	path := filepath.Join(image, "manifest.json")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`"` + clock + `": -?\d+`)
	if len(line.FindAll(text, -1)) != 1 {
		t.Fatalf("%s is not once in the manifest", clock)
	}
	text = line.ReplaceAll(text, fmt.Appendf(nil, `"%s": %d`, clock, nanoseconds))
	sum := fmt.Appendf(nil, "%x  manifest.json\n", sha256.Sum256(text))
	for name, data := range map[string][]byte{path: text, filepath.Join(image, "manifest.sha256"): sum} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// monotonic returns the seconds that the victim has read from CLOCK_MONOTONIC.
func (p *program) monotonic() []int64 {
	var out []int64
	for _, line := range p.lines() {
		var mono, boot int64
		if n, _ := fmt.Sscanf(line, "slept monotonic %d %d\n", &mono, &boot); n == 2 {
			out = append(out, mono)
		}
	}
	return out
}

// TestTimeNamespace: an image of a machine that was up for longer goes into a time
// namespace, where CLOCK_MONOTONIC goes on.
func TestTimeNamespace(t *testing.T) {
	needUserNamespace(t)
	if _, err := os.Stat("/proc/self/timens_offsets"); err != nil {
		skip(t, needKernel, err.Error())
	}
	const farAhead = 300 * 24 * 3600 // seconds
	for _, v := range []victims.Victim{clocks[0], clocks[2]} {
		t.Run(v.Name, func(t *testing.T) {
			p := start(t, v, startOptions{append: true})
			for g := range 2 {
				image := p.checkpoint(fmt.Sprintf("image-%d", g), "--kill")
				p.awaitKilled()
				ahead := int64(farAhead * (g + 1))
				setClock(t, image, "monotonic", ahead*1e9)
				setClock(t, image, "boottime", (ahead+5)*1e9)
				p.restore(image, "--pids=auto")
				p.adopt()
				p.awaitSteps(10)
				seen := p.monotonic()
				if last := seen[len(seen)-1]; last < ahead || last > ahead+3600 {
					t.Errorf("generation %d: CLOCK_MONOTONIC is %d, want %d", g, last, ahead)
				}
				if !slices.IsSorted(seen) {
					t.Errorf("generation %d: CLOCK_MONOTONIC went back", g)
				}
			}
			p.finish()
		})
	}
}

// adopt finds the id on the host of a program that may run in a namespace.
func (p *program) adopt() {
	p.t.Helper()
	for _, pid := range descendants(p.parent.cmd.Process.Pid) {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)) // gone: no text
		if bytes.Contains(text, []byte(p.stopfile())) {
			p.pid = pid
			return
		}
	}
	p.t.Fatal("the restored program is not among the descendants of restore")
}
