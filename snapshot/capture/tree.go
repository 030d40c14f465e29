package capture

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/crtrace/crtrace/snapshot"
	"github.com/crtrace/crtrace/tracer"
	"github.com/crtrace/crtrace/tracer/procfs"
	"golang.org/x/sys/unix"
)

// list lists the tree: the processes that live, parents before children, and
// the zombies.
func (c *collection) list(root int) (alive, zombies []procfs.Member, err error) {
	members, err := procfs.Tree(root, c.o.Reaper)
	if err != nil {
		return nil, nil, err
	}
	for _, m := range members {
		if m.Zombie() {
			zombies = append(zombies, m)
		} else {
			alive = append(alive, m)
		}
	}
	if len(alive) == 0 || alive[0].PID != root {
		return nil, nil, fmt.Errorf("process %d: %w", root, tracer.ErrTaskGone)
	}
	return alive, zombies, nil
}

// freeze stops the whole tree: it looks for processes that are not stopped yet
// until there are none. A parent is stopped before its children, so that a look
// at its list of children misses nobody; and a parent that waits in vfork can
// only be stopped when its child runs on.
func (c *collection) freeze(root int) error {
	known := map[int]*target{}
	for {
		alive, zombies, err := c.list(root)
		if err != nil {
			return err
		}
		fresh := false
		for _, m := range alive {
			if known[m.PID] != nil {
				continue
			}
			fresh = true
			p, err := tracer.Freeze(m.PID, c.o.Sleeps)
			if errors.Is(err, tracer.ErrTaskGone) && m.PID != root {
				continue // the next look finds a zombie, or nothing
			}
			if err != nil {
				return err
			}
			t := c.newTarget(m.PID)
			t.proc, known[m.PID] = p, t
		}
		if !fresh {
			return c.takeHierarchy(alive, zombies)
		}
	}
}

// newTarget enters a process into the collection.
func (c *collection) newTarget(pid int) *target {
	t := &target{collection: c, pid: pid, idOf: map[int]int{}}
	t.out = &snapshot.Process{PID: pid}
	c.targets = append(c.targets, t)
	return t
}

// takeHierarchy notes who is whose child, in which group and session. The tree
// is stopped.
func (c *collection) takeHierarchy(alive, zombies []procfs.Member) error {
	order := map[int]int{}
	for i := range alive {
		order[alive[i].PID] = i
	}
	c.targets = slices.DeleteFunc(c.targets, func(t *target) bool {
		_, there := order[t.pid]
		if !there { // it has died since
			if err := t.proc.Release(); err != nil {
				c.log.Debug("let a dead process go", "pid", t.pid, "error", err)
			}
		}
		return !there
	})
	slices.SortFunc(c.targets, func(a, b *target) int { return order[a.pid] - order[b.pid] })
	for i, t := range c.targets {
		m := &alive[i]
		t.stat = m.Stat
		t.out.Stopped, t.out.PGID, t.out.SID = int(t.proc.Stopped), m.PGID, m.SID
		if i > 0 && !m.Orphan {
			t.out.PPID, t.out.ParentTID = m.PPID, parentThread(m)
		}
	}
	c.noteZombies(zombies)
	c.m.Root = c.targets[0].pid
	return c.takeSurroundings()
}

// noteZombies enters the processes that have ended.
func (c *collection) noteZombies(zombies []procfs.Member) {
	for i := range zombies {
		m := &zombies[i]
		c.m.Zombies = append(c.m.Zombies, snapshot.Zombie{
			PID: m.PID, PPID: m.PPID, ParentTID: parentThread(m), PGID: m.PGID, SID: m.SID, Status: snapshot.Hex(m.ExitCode),
		})
	}
}

// parentThread returns the thread of its parent that a process is the child of,
// 0 for the leader.
func parentThread(m *procfs.Member) int {
	if m.ParentTID == m.PPID {
		return 0
	}
	return m.ParentTID
}

// takeSurroundings notes the session and the process group that the tree was
// started in. A process without anybody who stands for it is a job of its shell,
// which has given it a group of its own.
func (c *collection) takeSurroundings() error {
	root := c.targets[0]
	if c.o.Reaper != 0 {
		stat, err := procfs.ReadStat(c.o.Reaper)
		if err != nil {
			return err
		}
		c.m.Session, c.m.Group = stat.SID, stat.PGID
		return nil
	}
	if root.stat.SID != root.pid {
		c.m.Session, c.m.Group = root.stat.SID, root.stat.PGID
	}
	return nil
}

// find returns the process with an id, nil when the tree has none.
func (c *collection) find(pid int) *target {
	i := slices.IndexFunc(c.targets, func(t *target) bool { return t.pid == pid })
	if i < 0 {
		return nil
	}
	return c.targets[i]
}

// release lets all processes go. Those that job control had stopped come first:
// their parents must not see them in any other state. It tells for how long the
// tree was frozen.
func (c *collection) release() (time.Duration, error) {
	var errs []error
	var froze time.Time
	for _, stopped := range []bool{true, false} {
		for _, t := range c.targets {
			if (t.proc.Stopped != 0) != stopped {
				continue
			}
			if froze.IsZero() || t.proc.Frozen.Before(froze) {
				froze = t.proc.Frozen
			}
			if err := t.proc.Release(); err != nil {
				errs = append(errs, fmt.Errorf("let process %d go: %w", t.pid, err))
			}
			if stopped {
				procfs.AwaitStopped(t.pid, stopPatience)
			}
		}
	}
	return time.Since(froze), errors.Join(errs...)
}

// stopPatience is how long a stopped process that is let go may take to be stopped
// again. It takes microseconds, unless somebody has continued it.
const stopPatience = 100 * time.Millisecond

// takeStops notes which stops have been reported to the parents, by asking there.
func (c *collection) takeStops() error {
	for _, t := range c.targets {
		parent := c.find(t.out.PPID)
		if t.proc.Stopped == 0 || parent == nil {
			continue
		}
		area := parent.remote.Area
		if err := parent.proc.Mem.Write(area, make([]byte, siginfoLen)); err != nil {
			return err
		}
		_, err := parent.call(unix.SYS_WAITID, unix.P_PID, uint64(t.pid), area, unix.WSTOPPED|unix.WNOHANG|unix.WNOWAIT, 0)
		if err != nil {
			return fmt.Errorf("process %d: stop of its child %d: %w", parent.pid, t.pid, err)
		}
		signal, err := parent.fetch32()
		if err != nil {
			return err
		}
		t.out.StopReported = signal == 0 // nothing to report
	}
	return nil
}

// siginfoLen is the size of the kernel's siginfo_t in bytes.
const siginfoLen = 128

// kill ends all processes. None of them sees another one end, as all are stopped.
func (c *collection) kill() error {
	c.resetOnClose()
	var errs []error
	for _, t := range c.targets {
		if err := unix.Kill(t.pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
			errs = append(errs, fmt.Errorf("kill process %d: %w", t.pid, err))
		}
	}
	for _, t := range slices.Backward(c.targets) {
		errs = append(errs, t.proc.Kill())
	}
	return errors.Join(errs...)
}
