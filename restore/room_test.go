package restore

import (
	"strings"
	"testing"
)

func TestJudgeMemory(t *testing.T) {
	const gib = 1 << 30
	for _, c := range []struct {
		name              string
		need              int64
		room              room
		problem, warnings string
	}{
		{"fits", gib, room{4 * gib, "this machine", 2 * gib}, "", ""},
		{"tight", 3 * gib, room{4 * gib, "this machine", 2 * gib}, "", "3072 MiB of memory, only 2048"},
		{"never", 5 * gib, room{4 * gib, "this job", 2 * gib}, "5120 MiB of memory, this job allows 4096", ""},
		{"unknown", 5 * gib, room{}, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := &Plan{}
			p.judgeMemory(c.need, c.room)
			for _, got := range []struct {
				lines []string
				want  string
			}{{p.problems, c.problem}, {p.warnings, c.warnings}} {
				if text := strings.Join(got.lines, "\n"); got.want == "" && text != "" || !strings.Contains(text, got.want) {
					t.Errorf("%q, want %q", text, got.want)
				}
			}
		})
	}
	if r := readRoom(); r.whole <= 0 || r.available <= 0 || r.available > r.whole {
		t.Errorf("this machine: %+v", r)
	}
}
