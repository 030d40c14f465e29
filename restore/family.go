package restore

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/crtrace/crtrace/tracer"
	"github.com/crtrace/crtrace/tracer/procfs"
	"golang.org/x/sys/unix"
)

// family is the tree while its processes are made.
type family struct {
	*run
	processes map[int]*process // by the id in the image
}

// makeFamily makes all processes and threads, with their parents, sessions and
// groups, each process with its own executable.
func (r *run) makeFamily(ctx context.Context) error {
	f := &family{run: r, processes: map[int]*process{}}
	for i := range r.m.Processes {
		p := &process{run: r, broker: r.broker, image: &r.m.Processes[i]}
		p.threads = make([]*tracer.StubThread, len(p.image.Threads))
		f.processes[p.image.PID] = p
	}
	for _, s := range r.plan.steps {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := f.step(ctx, s); err != nil {
			return fmt.Errorf("process %d: %w", s.id, err)
		}
	}
	if err := f.setGroups(); err != nil {
		return err
	}
	if err := f.setForeground(); err != nil {
		return err
	}
	if err := f.endOthers(); err != nil {
		return err
	}
	for i := range r.m.Processes {
		r.processes = append(r.processes, f.processes[r.m.Processes[i].PID])
	}
	return f.check()
}

// step carries out one step of the plan.
func (f *family) step(ctx context.Context, s step) error {
	switch s.kind {
	case stepFork:
		return f.fork(ctx, s)
	case stepThread:
		p := f.processes[s.by]
		th, err := f.ids.thread(ctx, p.stub, s.want)
		if err != nil {
			return fmt.Errorf("thread %d: %w", s.id, err)
		}
		p.threads[p.indexOf(s.id)] = th
		return nil
	case stepSetsid:
		if _, err := f.stubs[s.id].Leader().Call(unix.SYS_SETSID); err != nil {
			return fmt.Errorf("setsid: %w", err)
		}
		return f.takeTerminals(s.id)
	}
	stub := f.stubs[s.id]
	delete(f.stubs, s.id)
	return stub.Discard()
}

// fork makes a process and gives it its executable, if it is one of the image.
func (f *family) fork(ctx context.Context, s step) error {
	by := f.seed.Leader()
	if s.by != 0 {
		by = f.stubs[s.by].Leader()
	}
	if s.tid != 0 {
		p := f.processes[s.by]
		by = p.threads[p.indexOf(s.tid)]
	}
	if err := f.prepare(ctx, s); err != nil {
		return err
	}
	want := s.want
	if s.id < 0 && f.ids.burner.taken(want) {
		want = 0 // any will do
	}
	stub, err := f.ids.process(ctx, by, want, s.sibling)
	if err != nil {
		return err
	}
	f.stubs[s.id] = stub
	p, ok := f.processes[s.id]
	if !ok {
		return nil
	}
	p.stub, p.threads[0] = stub, stub.Leader()
	if err := p.settle(); err != nil {
		return err
	}
	if p.origin != nil {
		return nil
	}
	if err := p.execute(); err != nil {
		return fmt.Errorf("execute its program: %w", err)
	}
	return nil
}

// prepare builds the memory of a process that is about to fork one that has pages in
// common with it.
func (f *family) prepare(ctx context.Context, s step) error {
	p, parent := f.processes[s.id], f.processes[s.by]
	if p == nil || parent == nil || s.sibling || !p.inherits(parent) {
		return nil
	}
	p.origin = parent
	return parent.makeMemory(ctx)
}

// setGroups puts everybody into process groups: first their leaders.
func (f *family) setGroups() error {
	type member struct{ pid, pgid, sid int }
	var leaders, others []member
	add := func(m member) {
		switch {
		case m.pgid == 0 || m.pgid == f.m.Group || m.sid == m.pid:
		case m.pgid == m.pid:
			leaders = append(leaders, m)
		default:
			others = append(others, m)
		}
	}
	image := map[int]bool{}
	for _, p := range f.m.Processes {
		add(member{p.PID, p.PGID, p.SID})
		image[p.PID] = true
	}
	for _, z := range f.m.Zombies {
		add(member{z.PID, z.PGID, z.SID})
		image[z.PID] = true
	}
	for id := range f.stubs { // dead leaders of groups
		if !image[id] && id > 0 {
			add(member{pid: id, pgid: id})
		}
	}
	for _, m := range append(leaders, others...) {
		group := f.pidOf(m.pgid)
		_, err := f.stubs[m.pid].Leader().Call(unix.SYS_SETPGID, 0, uint64(group))
		if err != nil && (image[m.pid] || !errors.Is(err, unix.EPERM)) { // a dead leader of a session has its group
			return fmt.Errorf("process %d: group %d: %w", m.pid, m.pgid, err)
		}
	}
	return nil
}

// endOthers ends who is no living process of the image: the zombies in the way in
// which they had ended, dead leaders without a trace.
func (f *family) endOthers() error {
	for i := range f.m.Zombies {
		z := &f.m.Zombies[i]
		status, sig := z.Exit()
		if err := f.stubs[z.PID].End(status, syscall.Signal(sig)); err != nil {
			return fmt.Errorf("zombie %d: %w", z.PID, err)
		}
		f.depart(z.PID)
	}
	for id, stub := range f.stubs {
		if f.processes[id] != nil {
			continue
		}
		f.depart(id)
		if err := stub.Discard(); err != nil {
			return err
		}
	}
	return nil
}

// depart notes that a process is no more.
func (f *family) depart(id int) {
	f.departed[id] = f.stubs[id].PID
	delete(f.stubs, id)
}

// check compares the hierarchy with that of the image: an error here would be
// silent damage later.
func (f *family) check() error {
	for _, p := range f.run.processes {
		stat, err := procfs.ReadStat(p.stub.PID)
		if err != nil {
			return err
		}
		image := p.image
		ok := (image.PPID == 0 || stat.PPID == f.pidOf(image.PPID)) &&
			(image.SID == 0 || image.SID == f.m.Session || stat.SID == f.pidOf(image.SID)) &&
			(image.PGID == 0 || image.PGID == f.m.Group || stat.PGID == f.pidOf(image.PGID))
		if !ok {
			return fmt.Errorf("process %d: %w: it has parent %d, group %d, session %d instead of %d, %d, %d",
				image.PID, errHierarchy, stat.PPID, stat.PGID, stat.SID, image.PPID, image.PGID, image.SID)
		}
	}
	return nil
}

// pidOf returns the id that a process of the image has here.
func (r *run) pidOf(pid int) int {
	if s := r.stubs[pid]; s != nil {
		return s.PID
	}
	if id, ok := r.departed[pid]; ok {
		return id
	}
	return pid
}

// idOf returns the id here of a process, thread or group of the image.
func (r *run) idOf(id int) int {
	for _, p := range r.processes {
		for i := range p.image.Threads {
			if p.image.Threads[i].TID == id {
				return p.threads[i].TID
			}
		}
	}
	return r.pidOf(id)
}

// indexOf returns the place of a thread in the image's list.
func (p *process) indexOf(tid int) int {
	for i := range p.image.Threads {
		if p.image.Threads[i].TID == tid {
			return i
		}
	}
	return 0
}
