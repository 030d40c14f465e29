package snapshot

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFileRules(t *testing.T) {
	rules, err := ParseFileRules([]string{"*.log=append", "/scratch/=ignore", "/home/u/*/data=save", "a=b.log=track"})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]FileRule{
		"/x/y.log":         RuleAppend,
		"/scratch/y.log":   RuleIgnore, // the last one that fits
		"/scratch/d/e":     RuleIgnore,
		"/scratches/e":     "",
		"/home/u/job/data": RuleSave,
		"/home/u/data":     "",
		"/q/a=b.log":       RuleTrack,
	} {
		if got := rules.For(path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	for _, bad := range []string{"", "x", "=save", "x=", "x=keep", "[=save"} {
		if _, err := ParseFileRules([]string{bad}); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestMoves(t *testing.T) {
	moves, err := ParseMoves([]string{"/old/job=/new", "/old=/other"})
	if err != nil {
		t.Fatal(err)
	}
	name := func(s string) []byte { return append([]byte{1, 0}, s+"\x00"...) }
	m := &Manifest{
		Files:     []File{{Path: "/old/job/in"}, {Path: "/old/jobs/in"}, {Path: "/usr/lib"}},
		Shared:    []Shared{{}, {Path: "/old/shm"}},
		Processes: []Process{{Cwd: "/old/job"}},
		Descriptions: []Description{
			{Detail: &Directory{Path: "/old/job/d"}}, {Detail: &Pipe{}}, {Detail: &Pipe{FIFO: "/old/f"}},
			{Detail: &Socket{Local: name("/old/s"), Peer: name("\x00/old"), Queue: []Datagram{{From: name("/old/job/q")}}}},
		},
	}
	want := &Manifest{
		Files:     []File{{Path: "/new/in"}, {Path: "/other/jobs/in"}, {Path: "/usr/lib"}},
		Shared:    []Shared{{}, {Path: "/other/shm"}},
		Processes: []Process{{Cwd: "/new"}},
		Descriptions: []Description{
			{Detail: &Directory{Path: "/new/d"}}, {Detail: &Pipe{}}, {Detail: &Pipe{FIFO: "/other/f"}},
			{Detail: &Socket{Local: name("/other/s"), Peer: name("\x00/old"), Queue: []Datagram{{From: name("/new/q")}}}},
		},
	}
	if err := m.Move(moves); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, m); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	long := Moves{{"/new", "/" + strings.Repeat("x", 200)}}
	if err := m.Move(long); err == nil {
		t.Error("a name of 200 bytes for a socket is accepted")
	}
	for _, bad := range []string{"/a", "a=/b", "/a=b", "/a/=/b", "=/b", "/a=", "/a/../b=/c"} {
		if _, err := ParseMoves([]string{bad}); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}
