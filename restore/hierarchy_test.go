package restore

import (
	"testing"

	"github.com/crtrace/crtrace/snapshot"
	"github.com/google/go-cmp/cmp"
)

// kin is a process of a hierarchy: id, parent, group, session.
type kin struct{ pid, ppid, pgid, sid int }

func (k kin) process(threads ...int) snapshot.Process {
	p := snapshot.Process{PID: k.pid, PPID: k.ppid, PGID: k.pgid, SID: k.sid, Threads: []snapshot.Thread{{TID: k.pid}}}
	for _, tid := range threads {
		p.Threads = append(p.Threads, snapshot.Thread{TID: tid})
	}
	return p
}

func kins(list ...kin) []snapshot.Process {
	var out []snapshot.Process
	for _, k := range list {
		out = append(out, k.process())
	}
	return out
}

// live carries steps out in a model of the kernel and returns the hierarchy that
// they lead to. The restorer is process 0, a subreaper in session 1.
func live(t *testing.T, steps []step, subreapers map[int]bool) (have map[int]kin, order []int) {
	t.Helper()
	have = map[int]kin{0: {sid: 1}}
	parent := func(pid int) int { return have[pid].ppid }
	for _, s := range steps {
		by, ok := have[s.by]
		if !ok {
			t.Fatalf("step %+v: there is no process %d", s, s.by)
		}
		switch s.kind {
		case stepFork:
			ppid := s.by
			if s.sibling {
				ppid = by.ppid
			}
			have[s.id] = kin{s.id, ppid, 0, by.sid}
			order = append(order, s.want)
		case stepThread:
			order = append(order, s.id)
		case stepSetsid:
			k := have[s.id]
			k.sid = s.id
			have[s.id] = k
		case stepExit:
			heir := parent(s.id)
			for heir != 0 && !subreapers[heir] {
				heir = parent(heir)
			}
			for pid, k := range have {
				if k.ppid == s.id {
					k.ppid = heir
					have[pid] = k
				}
			}
			delete(have, s.id)
		}
	}
	delete(have, 0)
	return have, order
}

// TestLayOut brings hierarchies about that shells, daemons and session managers
// make, and checks parents, sessions and that ids ascend.
func TestLayOut(t *testing.T) {
	// Root 100 is in session 1 and group 1 of the restorer, if not said otherwise.
	for name, c := range map[string]struct {
		processes []snapshot.Process
		zombies   []snapshot.Zombie
		reaper    int // a process that is a subreaper
		wraps     int // how often ids may descend
	}{
		"one":                    {processes: kins(kin{100, 0, 1, 1})},
		"threads between":        {processes: []snapshot.Process{kin{100, 0, 1, 1}.process(101, 103), kin{102, 100, 1, 1}.process(104)}},
		"job control":            {processes: kins(kin{100, 0, 100, 1}, kin{110, 100, 110, 1}, kin{111, 100, 110, 1}, kin{112, 111, 110, 1})},
		"dead leader of a group": {processes: kins(kin{100, 0, 1, 1}, kin{111, 100, 110, 1})},
		"zombie leads a group": {
			processes: kins(kin{100, 0, 1, 1}, kin{111, 100, 110, 1}),
			zombies:   []snapshot.Zombie{{PID: 110, PPID: 100, PGID: 110, SID: 1}},
		},
		"session below":                {processes: kins(kin{100, 0, 1, 1}, kin{101, 100, 101, 101}, kin{102, 101, 101, 101}, kin{103, 102, 103, 103})},
		"born before setsid":           {processes: kins(kin{100, 0, 1, 1}, kin{101, 100, 101, 101}, kin{102, 101, 1, 1}, kin{103, 101, 101, 101})},
		"daemon":                       {processes: kins(kin{100, 0, 1, 1}, kin{103, 0, 102, 102})},
		"two daemons of one session":   {processes: kins(kin{100, 0, 1, 1}, kin{103, 0, 102, 102}, kin{104, 0, 102, 102}, kin{105, 104, 102, 102})},
		"orphan in the root's session": {processes: kins(kin{100, 0, 100, 100}, kin{103, 0, 102, 100})},
		"orphan in a session below":    {processes: kins(kin{100, 0, 1, 1}, kin{101, 100, 101, 101}, kin{105, 0, 105, 101})},
		"orphan without a gap":         {processes: kins(kin{100, 0, 1, 1}, kin{101, 100, 101, 101}, kin{102, 0, 102, 101}), wraps: 1},
		"subreaper inside": {
			processes: kins(kin{100, 0, 1, 1}, kin{105, 100, 104, 104}, kin{106, 105, 106, 106}, kin{109, 100, 109, 106}), reaper: 100},
		"child older than its parent": {processes: kins(kin{100, 0, 1, 1}, kin{200, 100, 1, 1}, kin{150, 200, 1, 1}), wraps: 1},
	} {
		t.Run(name, func(t *testing.T) {
			m := &snapshot.Manifest{Root: 100, Session: 1, Group: 1, Processes: c.processes, Zombies: c.zombies}
			want := map[int]kin{}
			for i := range m.Processes {
				p := &m.Processes[i]
				p.Attributes.Subreaper = p.PID == c.reaper
				want[p.PID] = kin{p.PID, p.PPID, 0, p.SID}
			}
			for _, z := range m.Zombies {
				want[z.PID] = kin{z.PID, z.PPID, 0, z.SID}
			}
			steps, err := layOut(m)
			if err != nil {
				t.Fatal(err)
			}
			have, order := live(t, steps, map[int]bool{c.reaper: true})
			for pid := range have {
				if _, ok := want[pid]; !ok {
					delete(have, pid) // a helper
				}
			}
			if diff := cmp.Diff(want, have, cmp.AllowUnexported(kin{})); diff != "" {
				t.Errorf("-want +have:\n%s\n%+v", diff, steps)
			}
			wraps := 0
			for i := 1; i < len(order); i++ {
				if order[i] != 0 && order[i] < order[i-1] {
					wraps++
				}
			}
			if wraps > c.wraps {
				t.Errorf("%d times around all ids, want %d: %v", wraps, c.wraps, order)
			}
		})
	}
	if _, err := layOut(&snapshot.Manifest{Root: 100, Session: 1, Processes: kins(kin{100, 0, 1, 1}, kin{101, 100, 1, 77}, kin{77, 101, 77, 77})}); err == nil {
		t.Error("an impossible hierarchy was laid out")
	}
}
