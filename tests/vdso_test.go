package tests

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/crtrace/crtrace/tests/internal/victims"
)

// clocks is the victim that asks the vdso for the time.
var clocks = []victims.Victim{
	{Name: "clocks", Source: "clocks.c", Tampers: 1},
	{Name: "clocks-static", Source: "clocks.c", Flags: []string{"-static"}, Tampers: 1},
	{Name: "clocks-i386", Source: "clocks.c", Flags: []string{"-m32"}, Tampers: 1},
	{Name: "clocks-i386-static", Source: "clocks.c", Flags: []string{"-m32", "-static"}, Tampers: 1},
}

// TestClocksFail: the victim finds a clock that goes back.
func TestClocksFail(t *testing.T) {
	for _, v := range clocks {
		t.Run(v.Name, func(t *testing.T) {
			if lines, status := native(t, v, 10, 0); status != 0 {
				t.Errorf("undisturbed: status %d: %q", status, lines[len(lines)-1])
			}
			if lines, status := native(t, v, 10, 1); status != 1 {
				t.Errorf("tampered with: status %d: %q", status, lines[len(lines)-1])
			}
		})
	}
}

// areaOf returns the addresses of a named area, "" when there is none.
func areaOf(t *testing.T, pid int, name string) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasSuffix(strings.TrimSpace(line), name) {
			return strings.Fields(line)[0]
		}
	}
	return ""
}

// TestRedirectedVDSO: a program goes on with the vdso of another kernel: its old
// functions lead to the new ones. It can be checkpointed again, and restored with
// and without a change of the kernel.
func TestRedirectedVDSO(t *testing.T) {
	for _, v := range clocks {
		t.Run(v.Name, func(t *testing.T) {
			p := start(t, v, startOptions{append: true})
			for g, flags := range [][]string{{"--redirect-vdso"}, {"--redirect-vdso"}, nil} {
				before := areaOf(t, p.pid, "[vdso]")
				image := p.checkpoint(fmt.Sprintf("image-%d", g))
				p.kill()
				p.restore(image, append(flags, "--pids=host")...)
				after := areaOf(t, p.pid, "[vdso]")
				if moved := before != after; flags != nil && !moved || after == "" {
					t.Errorf("generation %d, %v: the vdso was at %s and is at %q", g, flags, before, after)
				}
				p.awaitSteps(20)
			}
			p.finish()
		})
	}
}
