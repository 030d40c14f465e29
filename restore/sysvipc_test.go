package restore

import (
	"os"
	"strings"
	"testing"

	"github.com/crtrace/crtrace/snapshot"
	"github.com/crtrace/crtrace/tracer/procfs"
)

// slots is a kernel that gives out ids.
type slots struct {
	used           map[int]bool
	last, sequence int
}

func (k *slots) take() int {
	for slot := k.last + 1; ; slot++ {
		if slot == 64 {
			slot, k.sequence = 0, k.sequence+1
		}
		if !k.used[slot] {
			k.last = slot
			return k.sequence<<15 | slot
		}
	}
}

// TestFishing looks for ids in a kernel of this test: neighbours in one round, in
// successive rounds, the first and the last slot, next to slots that others have.
func TestFishing(t *testing.T) {
	id := func(sequence, slot int) int { return sequence<<15 | slot }
	wanted := map[int]bool{id(5, 7): true, id(5, 8): true, id(6, 9): true, id(6, 0): true, id(7, 63): true, id(8, 20): true}
	k := &slots{used: map[int]bool{10: true, 11: true, 19: true, 21: true, 62: true}, last: 30}
	alive := map[int]bool{}
	kind := &ipcKind{
		name: "object",
		make: func() (int, error) { return k.take(), nil },
		remove: func(id int) error {
			delete(alive, id)
			return nil
		},
		list: func() ([]ipcState, error) { return nil, nil },
	}
	f := &fishing{kind: kind, before: map[int]int{}, last: -1}
	for want := range wanted {
		f.wanted = append(f.wanted, &ipcObject{kind: kind, image: &snapshot.IPC{ID: want}, make: func(int) (int, error) {
			got := k.take()
			alive[got] = true
			if wanted[got] {
				k.used[slotOf(got)] = true
			}
			return got, nil
		}})
	}
	if err := f.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(f.missed) > 0 || k.sequence > 9 {
		t.Errorf("after %d rounds %d are missing", k.sequence, len(f.missed))
	}
	if len(alive) != len(wanted) {
		t.Errorf("%d objects are left, want %d", len(alive), len(wanted))
	}
	for want := range wanted {
		if !alive[want] {
			t.Errorf("object %d was not made", want)
		}
	}
}

// TestFindIPC looks for objects among those that exist.
func TestFindIPC(t *testing.T) {
	uid, self := os.Geteuid(), os.Getpid()
	m := &snapshot.Manifest{Processes: []snapshot.Process{{PID: 1 << 23}}}
	used := func(pid int) func() []procfs.Use {
		return func() []procfs.Use { return []procfs.Use{{PID: pid, When: 1 << 40}} }
	}
	there := ipcState{IPC: procfs.IPC{ID: 5<<15 | 3, Key: 42, UID: uid, CUID: uid}, size: 2, look: used(1 << 23)}
	cases := map[string]struct {
		change      func(s *ipcState, o *ipcObject)
		found, left bool
		want        string
	}{
		"the same":             {func(*ipcState, *ipcObject) {}, true, false, ""},
		"nothing":              {func(s *ipcState, _ *ipcObject) { s.ID, s.Key = 9, 0 }, false, false, ""},
		"another size":         {func(s *ipcState, _ *ipcObject) { s.size = 3 }, false, false, "its place is taken"},
		"another creator":      {func(s *ipcState, _ *ipcObject) { s.CUID++ }, false, false, "its place is taken"},
		"another sequence":     {func(s *ipcState, _ *ipcObject) { s.ID += 1 << 15 }, false, false, "its place is taken"},
		"its key":              {func(s *ipcState, _ *ipcObject) { s.ID++ }, false, false, "its key 0x2a is taken"},
		"attached":             {func(s *ipcState, _ *ipcObject) { s.attached = 1 }, true, false, "attached"},
		"used":                 {func(s *ipcState, _ *ipcObject) { s.look = used(os.Getppid()) }, true, false, "uses it"},
		"used by us":           {func(s *ipcState, _ *ipcObject) { s.look = used(self) }, true, false, ""},
		"guessed, ours":        {func(_ *ipcState, o *ipcObject) { o.image.Guessed = true }, true, false, ""},
		"guessed, unknown":     {func(s *ipcState, o *ipcObject) { o.image.Guessed, s.look = true, used(0) }, true, true, ""},
		"guessed, used":        {func(s *ipcState, o *ipcObject) { o.image.Guessed, s.look = true, used(os.Getppid()) }, true, true, ""},
		"guessed, taken":       {func(s *ipcState, o *ipcObject) { o.image.Guessed, s.size = true, 3 }, false, true, ""},
		"removed, place taken": {func(s *ipcState, o *ipcObject) { o.removed, s.ID = true, s.ID+1<<15 }, false, false, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			o := &ipcObject{kind: setKind, image: &snapshot.IPC{ID: there.ID, Key: 42, CUID: uid}, size: 2, unchanged: func(*ipcState) bool { return false }}
			s := there
			c.change(&s, o)
			why := o.find(m, []ipcState{s})
			if !strings.Contains(why, c.want) || (c.want == "") != (why == "") {
				t.Errorf("%q, want %q", why, c.want)
			}
			if o.found != c.found || o.left != c.left {
				t.Errorf("found %v, left alone %v", o.found, o.left)
			}
		})
	}
}
