package capture

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/crtrace/crtrace/tracer"
	"github.com/crtrace/crtrace/tracer/procfs"
	"golang.org/x/sys/unix"
)

// survey looks at a running tree and returns why it can't be checkpointed:
// *tracer.PermissionError, tracer.ErrTaskGone, or *UnsupportedError with
// everything that stands in the way. It touches nothing.
//
// The tree runs meanwhile: a process that is forked after the list of processes
// was made may hold the other end of a pipe of one that is on it, and no moment
// was ever as it looks. So what is in the way only counts if it is still there at
// every further look; what passes by chance is left to the look at the stopped tree.
func survey(pid int, o Options) error {
	const looks, pause = 5, 2 * time.Millisecond
	var problems []Problem
	var err error
	for n := range looks {
		var found []Problem
		found, err = surveyOnce(pid, o)
		_, forbidden := errors.AsType[*tracer.PermissionError](err)
		switch {
		case forbidden, errors.Is(err, tracer.ErrTaskGone):
			return err
		case err != nil: // as when a descriptor became another one meanwhile
		case problems == nil:
			problems = found
		default:
			problems = slices.DeleteFunc(problems, func(p Problem) bool { return !slices.Contains(found, p) })
		}
		if err == nil && len(problems) == 0 {
			return nil
		}
		<-time.After(pause << n)
	}
	if err != nil {
		return err
	}
	return &UnsupportedError{problems}
}

// surveyOnce lists what stands in the way of a checkpoint, by one look at a running
// tree.
func surveyOnce(pid int, o Options) ([]Problem, error) {
	c := newCollection(nil, o)
	alive, zombies, err := c.list(pid)
	if err != nil {
		return nil, err
	}
	c.noteZombies(zombies)
	for _, m := range alive {
		if c.surveyDebugger(m.PID, alive) {
			continue
		}
		if err := c.surveyProcess(m.PID); err != nil {
			if errors.Is(err, tracer.ErrTaskGone) && m.PID != pid {
				continue // it has ended
			}
			return nil, err
		}
	}
	if err := c.takeDescriptors(); err != nil {
		if tracer.Ending(pid) {
			err = fmt.Errorf("process %d: %w", pid, tracer.ErrTaskGone)
		}
		return nil, err
	}
	err = c.takeIPC() // which adds to the problems: Go does not say what a return reads first
	return c.problems, err
}

// surveyDebugger refuses a process that another one of the tree traces. It can't
// be looked at any further.
func (c *collection) surveyDebugger(pid int, alive []procfs.Member) bool {
	status, err := procfs.ReadStatus(pid)
	if err != nil || !slices.ContainsFunc(alive, func(m procfs.Member) bool { return m.PID == status.TracerPid }) {
		return false
	}
	c.problems = append(c.problems, Problem{
		PID: pid, Object: fmt.Sprintf("its tracer, process %d", status.TracerPid),
		Why: "a debugger and what it holds can't be restored", Hint: "end the debugger, or let it detach, before the checkpoint",
	})
	return true
}

// surveyProcess looks at one process of the tree.
func (c *collection) surveyProcess(pid int) error {
	if err := tracer.Permission(pid); err != nil {
		return err // *tracer.PermissionError or tracer.ErrTaskGone
	}
	t := c.newTarget(pid)
	var err error
	if t.stat, err = procfs.ReadStat(pid); err == nil {
		err = t.surveyTarget()
	}
	if err == nil {
		err = t.surveyVMAs()
	}
	if err == nil {
		return nil
	}
	c.targets = c.targets[:len(c.targets)-1]
	c.problems = slices.DeleteFunc(c.problems, func(p Problem) bool { return p.PID == pid })
	return explainSurvey(pid, err)
}

// explainSurvey tells why a process could not be looked at.
func explainSurvey(pid int, err error) error {
	if gone(pid, err) {
		return fmt.Errorf("process %d: %w", pid, tracer.ErrTaskGone)
	}
	if errors.Is(err, unix.EPERM) {
		return &tracer.PermissionError{PID: pid, Why: err.Error(), Hint: "start the program with 'crtrace launch'"}
	}
	return fmt.Errorf("process %d: %w", pid, err)
}

// gone tells whether an error means that a process, or something of it, is no more.
// The kernel forbids to look into a process that is on its way out.
func gone(pid int, err error) bool {
	return procfs.Gone(err) || err != nil && tracer.Ending(pid)
}

// surveyTarget checks everything about a process that takes no look at its
// memory and descriptors.
func (t *target) surveyTarget() error {
	for _, step := range []func() error{t.surveyTasks, t.surveyNamespaces, t.surveyPartners} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// surveyTasks looks at the threads.
func (t *target) surveyTasks() error {
	const ioWorker, userWorker = 0x10, 0x4000 // PF_IO_WORKER, PF_USER_WORKER
	status, err := procfs.ReadStatus(t.pid)
	if err != nil {
		return err
	}
	t.surveySeccomp(status)
	if slices.Contains(strings.Fields(status.ThreadFeatures), "shstk") {
		t.refuse("shadow stack", "shadow stacks can't be rebuilt", "set GLIBC_TUNABLES=glibc.cpu.x86_shstk=off for the program")
	}
	tids, err := procfs.Tasks(t.pid)
	if err != nil {
		return err
	}
	for _, tid := range tids {
		s, err := procfs.ReadTaskStat(t.pid, tid)
		switch {
		case procfs.Gone(err):
			continue
		case err != nil:
			return err
		case s.Flags&(ioWorker|userWorker) != 0:
			t.refuse(fmt.Sprintf("thread %d (%s)", tid, s.Comm), "it is a kernel worker of the program (io_uring or vhost)",
				"turn io_uring off in the program")
		case tid == t.pid && s.State == 'Z':
			t.refuse(fmt.Sprintf("thread %d", tid), "the main thread has ended while others run", "")
		}
	}
	return nil
}

// surveyNamespaces refuses processes that see another world than crtrace does.
func (t *target) surveyNamespaces() error {
	for _, ns := range []string{"pid", "mnt", "net", "ipc", "user", "uts", "cgroup"} {
		theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", t.pid, ns))
		if err != nil {
			return err
		}
		ours, err := os.Readlink("/proc/self/ns/" + ns)
		if err != nil {
			return err
		}
		if theirs != ours {
			t.refuse(ns+" namespace", "it is not that of crtrace", "run crtrace inside the same container or namespace")
		}
	}
	if root, _, err := procfs.Root(t.pid); err == nil && root != "/" {
		t.refuse("root directory", "the process is confined to "+root, "")
	}
	return nil
}

// surveyPartners refuses processes that share with their parent what a restore
// can't share again. A child of vfork does so until it executes a program.
func (t *target) surveyPartners() error {
	for kind, what := range map[int]string{1: "its address space", 2: "its descriptors"} { // KCMP_VM, KCMP_FILES
		if t.stat.PPID != 0 && t.keepsSharing(kind) {
			t.refuse(fmt.Sprintf("parent process %d", t.stat.PPID), "the process shares "+what+" with it", "")
		}
	}
	return nil
}

// keepsSharing tells whether the process shares a resource with its parent, and
// not only for a moment.
func (t *target) keepsSharing(kind int) bool {
	const patience, step = time.Second, 2 * time.Millisecond
	tick := time.NewTicker(step)
	defer tick.Stop()
	for end := time.Now().Add(patience); ; <-tick.C {
		same, err := sameResource(t.pid, t.stat.PPID, kind)
		if err != nil || !same {
			return false
		}
		if !t.surveying() || time.Now().After(end) { // a child of vfork is not stopped before its parent
			return true
		}
	}
}

// sameResource compares a resource of two processes by kcmp(2).
func sameResource(a, b, kind int) (bool, error) {
	r, _, errno := unix.RawSyscall6(unix.SYS_KCMP, uintptr(a), uintptr(b), uintptr(kind), 0, 0, 0)
	if errno != 0 {
		return false, errno
	}
	return r == 0, nil
}
