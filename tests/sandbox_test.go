package tests

import (
	"os"
	"strconv"
	"testing"

	"github.com/crtrace/crtrace/tests/internal/victims"
)

// sandbox returns the words that put a command under a system call filter.
func sandbox(t *testing.T, kind string) []string {
	t.Helper()
	return []string{build(t, victims.Sandbox), kind}
}

// TestContainer: in a container everything is under one system call filter, which
// also takes away clone3 and namespaces. crtrace inside works as outside.
func TestContainer(t *testing.T) {
	for _, name := range []string{"counter", "threads16", "sleeps", "goapp"} {
		t.Run(name, func(t *testing.T) {
			p := start(t, victim(t, name), startOptions{append: true, wrap: sandbox(t, "container")})
			for g := range generations() {
				p.generation(g, "--pids=host")
				if got := statusField(p.pid, "Seccomp_filters"); got != "1" {
					t.Fatalf("generation %d: the program has %s filters", g, got)
				}
			}
			p.finish()
		})
	}
}

// TestSandboxed: a program under a filter that crtrace is not under, or one that
// would kill the program for what crtrace makes it do, is refused and unharmed.
func TestSandboxed(t *testing.T) {
	t.Run("own filter", func(t *testing.T) {
		v := victim(t, "counter")
		p := start(t, v, startOptions{append: true, binary: sandbox(t, "container")[0], before: []string{"container", build(t, v)}})
		refuseCheckpoint(t, strconv.Itoa(p.pid), []int{3}, "seccomp", "its own")
		p.unharmed()
	})
	t.Run("deadly", func(t *testing.T) {
		p := start(t, victim(t, "counter"), startOptions{append: true, wrap: sandbox(t, "deadly")})
		refuseCheckpoint(t, strconv.Itoa(p.pid), []int{3}, "seccomp", "forbids")
		p.unharmed()
	})
}

// TestStillRuns: a restore beside the living program would have both write into
// the same files. It is refused unless the user asks for a second one by name.
func TestStillRuns(t *testing.T) {
	p := start(t, victim(t, "counter"), startOptions{append: true})
	image := p.checkpoint("image")
	for _, flags := range [][]string{nil, {"--pids=host"}, {"--detach"}} {
		status, _, stderr := run(t, append(append([]string{"restore"}, flags...), image)...)
		refused(t, status, stderr, []int{3}, "still runs", strconv.Itoa(p.pid))
	}
	if entries, err := os.ReadDir(image + ".tails"); err == nil {
		t.Errorf("a file was cut: %v", entries)
	}
	p.unharmed()
}
