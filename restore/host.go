package restore

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/crtrace/crtrace/regs"
	"github.com/crtrace/crtrace/snapshot"
	"github.com/crtrace/crtrace/tracer"
	"golang.org/x/sys/unix"
)

// AskSetTID asks whether this process may choose the ids of tasks that it makes. It
// takes CAP_CHECKPOINT_RESTORE in its pid namespace's user namespace (clone(2)), and
// a clone3 that no system call filter forbids. The error says what stands in the way.
func AskSetTID() error {
	if errno := cloneWithUsedID(); errno != unix.EEXIST {
		return fmt.Errorf("clone3 with set_tid: %w", errno)
	}
	return nil
}

// hostXCR0 returns the extended state components of this machine, all ones when
// they can't be found out.
func hostXCR0() uint64 {
	v, err := tracer.HostXCR0()
	if err != nil {
		return ^uint64(0)
	}
	return v
}

// checkXState finds out whether this processor has a place for the extended states
// of all threads.
func (p *Plan) checkXState(im *snapshot.Image) error {
	here, err := tracer.HostXComponents()
	if err != nil {
		return err
	}
	const enough = 1 << 20 // bytes; that nothing lies outside is not the question
	used := uint64(0)
	for i := range im.Manifest.Processes {
		for _, t := range im.Manifest.Processes[i].Threads {
			state, err := im.XState(t.XState)
			if err != nil {
				return err
			}
			if len(state) == 0 {
				continue
			}
			used |= regs.XStateBV(state)
			if _, err := regs.ConvertXState(state, p.manifest.Host.XState, here, enough); err != nil && used&^hostXCR0() == 0 {
				p.refuse("thread %d: %v", t.TID, err)
			}
		}
	}
	if missing := used &^ hostXCR0(); missing != 0 {
		p.refuse("the program uses processor features that this machine lacks (extended state components %#x)", missing)
	}
	return nil
}

// clocksWentBack tells whether CLOCK_MONOTONIC is behind what the program saw.
func clocksWentBack(c snapshot.Clocks) bool {
	var ts unix.Timespec
	return unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) == nil && ts.Nano() < c.Monotonic
}

// enterTimeNamespace makes the children of this thread see CLOCK_MONOTONIC and
// CLOCK_BOOTTIME go on from where they were.
func enterTimeNamespace(c snapshot.Clocks) error {
	if err := unix.Unshare(unix.CLONE_NEWTIME); err != nil {
		return fmt.Errorf("unshare a time namespace: %w", err)
	}
	var text strings.Builder
	for _, clock := range []struct {
		id   int32
		name string
		want int64
	}{{unix.CLOCK_MONOTONIC, "monotonic", c.Monotonic}, {unix.CLOCK_BOOTTIME, "boottime", c.Boottime}} {
		var now unix.Timespec
		if err := unix.ClockGettime(clock.id, &now); err != nil {
			return err
		}
		offset := clock.want - now.Nano()
		sec := offset / 1e9
		if offset%1e9 != 0 && offset > 0 {
			sec++ // nanoseconds must not be negative; a little too late does no harm
		}
		fmt.Fprintf(&text, "%s %d 0\n", clock.name, sec)
	}
	path := fmt.Sprintf("/proc/%d/timens_offsets", unix.Gettid())
	return os.WriteFile(path, []byte(text.String()), 0)
}

// CanUseNamespaces tells whether this user may have a user and pid namespace, by
// making one.
func CanUseNamespaces() bool {
	attr := &syscall.SysProcAttr{
		Ptrace: true, Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: os.Getuid(), HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: os.Getgid(), HostID: os.Getgid(), Size: 1}},
	}
	return tracer.Do(func() error {
		pid, err := syscall.ForkExec("/proc/self/exe", []string{"crtrace"}, &syscall.ProcAttr{Sys: attr})
		if err != nil {
			return err
		}
		return errors.Join(unix.Kill(pid, unix.SIGKILL), tracer.Reap(pid))
	}) == nil
}
