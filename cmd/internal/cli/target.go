package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/crtrace/crtrace/cmd/internal/exitcode"
	"github.com/crtrace/crtrace/cmd/internal/supervisor"
	"github.com/crtrace/crtrace/tracer"
	"github.com/crtrace/crtrace/tracer/procfs"
)

// target is the process that is to be checkpointed.
type target struct {
	pid  int
	uid  int    // real user id
	comm string // name, any bytes
}

// findTarget looks at the process that the user has named and refuses what
// makes no sense, each with its reason.
func (a *app) findTarget(ctx context.Context, pid int) (*target, error) {
	switch {
	case pid <= 0 || pid > 1<<22:
		return nil, exitcode.Usagef("this is no process id")
	case pid == 1:
		return nil, exitcode.Usagef("process 1 is the init process of this system; it can't be checkpointed")
	case pid == os.Getpid():
		return nil, exitcode.Usagef("this is crtrace itself")
	case slices.Contains(procfs.Ancestors(os.Getpid()), pid):
		return nil, exitcode.Usagef("this crtrace runs below process %d and would be part of the image; run it from elsewhere", pid)
	}
	st, err := procfs.ReadStat(pid)
	if err != nil {
		return nil, noProcess(pid, err)
	}
	status, err := procfs.ReadStatus(pid)
	if err != nil {
		return nil, noProcess(pid, err)
	}
	if tgid := status.Tgid; tgid != pid {
		return nil, exitcode.Usagef("this is a thread of process %d; use --pid %d", tgid, tgid)
	}
	switch {
	case st.State == 'Z' || st.State == 'X':
		return nil, fmt.Errorf("%w; process %d has not waited for it yet", tracer.ErrTaskGone, st.PPID)
	case st.Kernel():
		return nil, exitcode.With(exitcode.Unsupported, errors.New("this is a thread of the kernel"))
	}
	uid := status.UIDs[0]
	if own := os.Geteuid(); own != 0 && uid != own {
		return nil, exitcode.With(exitcode.Permission, fmt.Errorf("attach: it belongs to user %d (run crtrace as that user)", uid))
	}
	if r := supervisor.FindBySupervisor(ctx, a.runtimeDir, uid, pid); r != nil {
		return nil, exitcode.Usagef("this is the crtrace that watches process %d; use --pid %d", r.Program, r.Program)
	}
	return &target{pid: pid, uid: uid, comm: st.Comm}, nil
}

// noProcess tells whether a process without an entry in /proc does not exist or
// is only hidden from us (mount option hidepid).
func noProcess(pid int, err error) error {
	if errors.Is(unix.Kill(pid, 0), unix.EPERM) {
		return exitcode.With(exitcode.Permission, errors.New("attach: it belongs to another user (run crtrace as that user)"))
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return exitcode.With(exitcode.Gone, errors.New("no such process"))
	}
	return err
}
