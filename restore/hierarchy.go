package restore

import (
	"errors"
	"slices"

	"github.com/crtrace/crtrace/snapshot"
)

// A process hierarchy can't be written down, it has to be lived again. A session
// is inherited by birth and left by setsid; a parent is who forked, or, for
// orphans, the nearest subreaper; and ids that can only be reached by burning
// (see ids) are cheap in ascending order alone. layOut finds an order of forks
// and setsids that leads to the hierarchy of an image. Process groups, which can
// be changed at any time, come when everybody is there.

// stepKind is what a step of the hierarchy does.
type stepKind int

const (
	stepFork   stepKind = iota // make a process
	stepThread                 // make a thread
	stepSetsid                 // make a process the leader of a session
	stepExit                   // end a process that was only needed to fork another one
)

// step is one step towards the hierarchy. Processes are called by the ids of the
// image.
type step struct {
	kind stepKind
	id   int // process or thread; below 0: a go-between without an id of its own
	want int // stepFork: id to ask for, 0: any
	by   int // process that makes it, 0: the seed
	tid  int // thread of it, 0: the leader
	// sibling: the new process is to be a child of by's parent.
	sibling bool
}

// node is a process of the image, or one that is needed to get there.
type node struct {
	id, ppid, ptid, pgid, sid int

	subreaper bool
	helper    bool // not in the image: a dead leader of a group or session
	session   int  // the one that it is in at the moment
}

// hierarchy is a plan in the making.
type hierarchy struct {
	nodes   map[int]*node
	order   []int       // ids of processes and threads, ascending
	threads map[int]int // thread id to process id
	outside int         // session of the restorer
	made    map[int]bool
	steps   []step
}

var errHierarchy = errors.New("the parents and sessions of its processes can't be brought about again")

// layOut returns the steps that make all processes and threads of an image.
func layOut(m *snapshot.Manifest) ([]step, error) {
	h := newHierarchy(m)
	for len(h.made) < len(h.order) {
		before := len(h.steps)
		for _, id := range h.order {
			if !h.made[id] {
				h.try(id)
			}
		}
		if len(h.steps) == before {
			return nil, errHierarchy
		}
	}
	for _, id := range h.order {
		if n := h.nodes[id]; n != nil && n.sid == id {
			h.setsid(n)
		}
	}
	return h.steps, nil
}

// newHierarchy collects the processes of an image, and the dead leaders of
// groups and sessions that are still called by them.
func newHierarchy(m *snapshot.Manifest) *hierarchy {
	h := &hierarchy{nodes: map[int]*node{}, threads: map[int]int{}, made: map[int]bool{}, outside: m.Session}
	for i := range m.Processes {
		p := &m.Processes[i]
		for _, t := range p.Threads[1:] {
			h.threads[t.TID] = p.PID
		}
		h.nodes[p.PID] = &node{id: p.PID, ppid: p.PPID, ptid: p.ParentTID, pgid: p.PGID, sid: p.SID, subreaper: p.Attributes.Subreaper}
	}
	for i := range m.Zombies {
		z := &m.Zombies[i]
		h.nodes[z.PID] = &node{id: z.PID, ppid: z.PPID, ptid: z.ParentTID, pgid: z.PGID, sid: z.SID}
	}
	h.addHelpers(m)
	for id := range h.nodes {
		h.order = append(h.order, id)
	}
	for id := range h.threads {
		h.order = append(h.order, id)
	}
	slices.Sort(h.order)
	return h
}

// addHelpers adds the dead leaders.
func (h *hierarchy) addHelpers(m *snapshot.Manifest) {
	var members []*node
	for _, n := range h.nodes {
		members = append(members, n)
	}
	slices.SortFunc(members, func(a, b *node) int { return a.id - b.id })
	for _, n := range members {
		if n.sid != 0 && n.sid != m.Session && h.nodes[n.sid] == nil {
			h.nodes[n.sid] = &node{id: n.sid, ppid: n.ppid, pgid: n.sid, sid: n.sid, helper: true}
		}
	}
	for _, n := range members {
		if n.pgid != 0 && n.pgid != m.Group && h.nodes[n.pgid] == nil {
			h.nodes[n.pgid] = &node{id: n.pgid, ppid: n.ppid, pgid: n.pgid, sid: n.sid, helper: true}
		}
	}
}

// try makes a process or thread, if what that takes is there.
func (h *hierarchy) try(id int) {
	if pid, ok := h.threads[id]; ok {
		if h.made[pid] {
			h.add(step{kind: stepThread, id: id, want: id, by: pid})
		}
		return
	}
	n := h.nodes[id]
	parent := h.nodes[n.ppid]
	switch {
	case n.ppid == 0:
		h.tryOrphan(n)
	case parent == nil || !h.made[n.ppid] || n.ptid != 0 && !h.made[n.ptid]:
	case n.sid == id || parent.session == n.sid:
		h.fork(n, step{by: n.ppid, tid: n.ptid}, parent.session)
	case n.sid == parent.id && parent.sid == parent.id && h.maySetsid(parent):
		h.setsid(parent)
		h.fork(n, step{by: n.ppid, tid: n.ptid}, parent.session)
	case parent.subreaper || n.helper:
		h.adopt(n)
	}
}

// tryOrphan makes a child of the restorer itself.
func (h *hierarchy) tryOrphan(n *node) {
	if n.sid == n.id || n.sid == h.outside || n.sid == 0 {
		h.fork(n, step{sibling: true}, h.outside)
		return
	}
	h.adopt(n)
}

// adopt makes a process in a session that its parent is not in: it was an orphan
// once. If a member of the session is a child of the same parent, that one makes
// a sibling; else a go-between forks it, and ends.
func (h *hierarchy) adopt(n *node) {
	var member *node
	for _, id := range h.order {
		q := h.nodes[id]
		if q == nil || !h.made[id] || q.session != n.sid && (q.sid != n.sid || q.id != n.sid || !h.maySetsid(q)) {
			continue
		}
		if member == nil || q.ppid == n.ppid && member.ppid != n.ppid {
			member = q
		}
	}
	if member == nil {
		return
	}
	if member.session != n.sid {
		h.setsid(member)
	}
	if member.ppid == n.ppid || n.helper {
		h.fork(n, step{by: member.id, sibling: !n.helper}, member.session)
		return
	}
	between := -n.id
	h.steps = append(h.steps, step{kind: stepFork, id: between, want: h.gap(member.id, n.id), by: member.id})
	h.fork(n, step{by: between}, member.session)
	h.steps = append(h.steps, step{kind: stepExit, id: between, by: member.id})
}

// gap returns an id between two, as near as possible to the upper one, that
// nobody wants; 0 when there is none.
func (h *hierarchy) gap(low, high int) int {
	for id := high - 1; id > low; id-- {
		if _, wanted := slices.BinarySearch(h.order, id); !wanted {
			return id
		}
	}
	return 0
}

// maySetsid tells whether a process can leave the session that it was born in: all
// children that it had there have been made.
func (h *hierarchy) maySetsid(n *node) bool {
	for _, c := range h.nodes {
		if c.ppid == n.id && !h.made[c.id] && c.sid == n.session && c.sid != c.id {
			return false
		}
	}
	return true
}

func (h *hierarchy) setsid(n *node) {
	if n.session != n.id {
		n.session = n.id
		h.steps = append(h.steps, step{kind: stepSetsid, id: n.id})
	}
}

// fork makes a process in a session. A helper is there to lead its own.
func (h *hierarchy) fork(n *node, s step, session int) {
	s.kind, s.id, s.want = stepFork, n.id, n.id
	n.session = session
	h.add(s)
	if n.helper && n.sid == n.id {
		h.setsid(n)
	}
}

func (h *hierarchy) add(s step) {
	h.made[s.id] = true
	h.steps = append(h.steps, s)
}
