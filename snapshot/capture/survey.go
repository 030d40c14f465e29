package capture

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/crtrace/crtrace/tracer"
	"github.com/crtrace/crtrace/tracer/procfs"
	"golang.org/x/sys/unix"
)

// survey looks at a running process and returns why it can't be checkpointed:
// *tracer.PermissionError, tracer.ErrTaskGone, or *UnsupportedError with
// everything that stands in the way. It touches nothing.
func survey(pid int, o Options) error {
	stat, err := procfs.ReadStat(pid)
	if procfs.Gone(err) {
		return fmt.Errorf("process %d: %w", pid, tracer.ErrTaskGone)
	}
	if err != nil {
		return err
	}
	if stat.State == 'Z' || stat.State == 'X' {
		return fmt.Errorf("process %d is a zombie: %w", pid, tracer.ErrTaskGone)
	}
	if err := tracer.Permission(pid); err != nil {
		return err
	}
	t := &target{collection: newCollection(nil, o), pid: pid}
	for _, step := range []func() error{
		t.surveyTasks, t.surveyNamespaces, t.surveyPartners, t.surveyVMAs, t.takeDescriptors,
	} {
		if err := step(); err != nil {
			if procfs.Gone(err) {
				return fmt.Errorf("process %d: %w", pid, tracer.ErrTaskGone)
			}
			if errors.Is(err, unix.EPERM) {
				return &tracer.PermissionError{PID: pid, Why: err.Error(),
					Hint: "start the program with 'crtrace launch'"}
			}
			return fmt.Errorf("process %d: %w", pid, err)
		}
	}
	if len(t.problems) > 0 {
		return &UnsupportedError{t.problems}
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

// surveyPartners refuses processes that share what a restore can't share again.
func (t *target) surveyPartners() error {
	children, err := procfs.Children(t.pid)
	if err != nil {
		return err
	}
	for _, c := range children {
		t.refuse(fmt.Sprintf("child process %d", c), "process trees are not supported yet", "checkpoint it when it has no children")
	}
	stat, err := procfs.ReadStat(t.pid)
	if err != nil {
		return err
	}
	for kind, what := range map[int]string{1: "its address space", 2: "its descriptors"} { // KCMP_VM, KCMP_FILES
		if same, err := sameResource(t.pid, stat.PPID, kind); err == nil && same {
			t.refuse(fmt.Sprintf("parent process %d", stat.PPID), "the process shares "+what+" with it", "")
		}
	}
	return nil
}

// sameResource compares a resource of two processes by kcmp(2).
func sameResource(a, b, kind int) (bool, error) {
	r, _, errno := unix.RawSyscall6(unix.SYS_KCMP, uintptr(a), uintptr(b), uintptr(kind), 0, 0, 0)
	if errno != 0 {
		return false, errno
	}
	return r == 0, nil
}
