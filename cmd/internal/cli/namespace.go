package cli

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/crtrace/crtrace/cmd/internal/exitcode"
	"github.com/crtrace/crtrace/cmd/internal/supervisor"
	"github.com/crtrace/crtrace/restore"
	"github.com/crtrace/crtrace/snapshot"
	"github.com/crtrace/crtrace/tracer"
)

// Descriptors that the process inside a namespace inherits.
const (
	hostProcFD     = 3 // the /proc of the host
	insideReportFD = 4 // where it reports to
)

// insideCaps are what the process inside a namespace needs there: to choose ids,
// to mount /proc, to set the clocks of a time namespace. An ordinary user loses
// all others with execve.
var insideCaps = []uintptr{unix.CAP_CHECKPOINT_RESTORE, unix.CAP_SYS_ADMIN, unix.CAP_SYS_TIME}

// restoreOutside restores an image in a pid namespace of its own. A second
// crtrace is the init of that namespace: it rebuilds the program, is its parent,
// reaps and answers checkpoint requests. This process stands for both towards the
// shell; the namespace dies with it.
func (a *app) restoreOutside(ctx context.Context, f restoreFlags, dir string, ready func(*restore.Tree) error) error {
	s, err := supervisor.New(a.supervisorConfig())
	if err != nil {
		return err
	}
	defer s.Close()
	report, pid, err := a.startInside(ctx, f, dir)
	if err != nil {
		return err
	}
	for _, w := range report.Warnings {
		a.note("crtrace: warning: %s", printable(w))
	}
	if err := ready(&restore.Tree{Root: report.PID, Warnings: report.Warnings}); err != nil {
		a.log.Warn("nobody to report to", "error", err)
	}
	status, err := s.Stand(pid)
	return programStatus(status, err)
}

// startInside starts the process inside the namespace and waits until the
// program runs there.
func (a *app) startInside(ctx context.Context, f restoreFlags, dir string) (*detachReport, int, error) {
	hostProc, err := os.Open("/proc")
	if err != nil {
		return nil, 0, err
	}
	defer hostProc.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return nil, 0, err
	}
	defer r.Close()
	cmd := exec.Command("/proc/self/exe", a.insideArgs(f, dir)...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{hostProc, w}
	if cmd.SysProcAttr, err = namespaceAttr(dir); err != nil {
		return nil, 0, err
	}
	// A thread that lives on: its end would count as the death of the parent.
	err = tracer.Keep(cmd.Start)
	_ = w.Close()
	if err != nil {
		return nil, 0, fmt.Errorf("make a user and pid namespace: %w (see 'crtrace doctor'; --pids=host and --pids=any need none)", err)
	}
	report, err := a.awaitReport(ctx, cmd, r)
	if err != nil {
		return nil, 0, err
	}
	return report, cmd.Process.Pid, nil
}

// namespaceAttr asks for the namespaces, with this user as the only one in them. A program
// with System V IPC objects also gets a namespace for those, where their ids are free.
func namespaceAttr(dir string) (*syscall.SysProcAttr, error) {
	im, err := snapshot.Open(dir)
	if err != nil {
		return nil, err
	}
	defer im.Close()
	flags := uintptr(unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNS)
	if im.Manifest.UsesIPC() {
		flags |= unix.CLONE_NEWIPC
	}
	return &syscall.SysProcAttr{
		Cloneflags:  flags,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: os.Getuid(), HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: os.Getgid(), HostID: os.Getgid(), Size: 1}},
		AmbientCaps: insideCaps,
		Pdeathsig:   syscall.SIGKILL,
	}, nil
}

// insideArgs is the command line of the process inside the namespace.
func (a *app) insideArgs(f restoreFlags, dir string) []string {
	args := []string{"restore", "--inside", "--report-fd", strconv.Itoa(insideReportFD)}
	return append(append(args, a.passOn(f)...), "--", dir)
}

// inside is what the process inside a namespace knows of the world outside. It
// translates process ids by the host's /proc, which shows both.
type inside struct{ hostProc *os.File }

// enter prepares the init of a fresh pid namespace: a /proc that shows the
// namespace's processes.
func enter() (*inside, error) {
	if os.Getpid() != 1 {
		return nil, exitcode.Usagef("--inside is for the first process of a pid namespace")
	}
	nameProcess()
	syscall.CloseOnExec(hostProcFD)
	n := &inside{os.NewFile(hostProcFD, "/proc of the host")}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return nil, fmt.Errorf("keep mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return nil, fmt.Errorf("mount /proc in the namespace: %w (containers with a masked /proc forbid it; use --pids=host or --pids=any)", err)
	}
	return n, nil
}

// nameProcess gives this process a name that says who it is: one that was started
// as /proc/self/exe is called exe.
func nameProcess() {
	_ = os.WriteFile(fmt.Sprintf("/proc/self/task/%d/comm", os.Getpid()), []byte("crtrace"), 0) // looks only
}

// Inside returns the id in the namespace of a process that the host knows by
// pid, 0 if it is not in it.
func (n *inside) Inside(pid int) int {
	ids := n.ids(pid)
	if len(ids) < 2 {
		return 0
	}
	return ids[len(ids)-1]
}

// Outside returns the id on the host of a process of the namespace.
func (n *inside) Outside(pid int) int {
	names, err := n.hostProc.Readdirnames(-1)
	if _, seekErr := n.hostProc.Seek(0, 0); err != nil || seekErr != nil {
		return 0
	}
	self, err := n.readlink("self/ns/pid")
	if err != nil {
		return 0
	}
	for _, name := range names {
		host, err := strconv.Atoi(name)
		if err != nil || n.Inside(host) != pid {
			continue
		}
		if ns, err := n.readlink(name + "/ns/pid"); err == nil && ns == self {
			return host
		}
	}
	return 0
}

// ids returns the ids that a process of the host has in each namespace.
func (n *inside) ids(pid int) []int {
	fd, err := unix.Openat(int(n.hostProc.Fd()), strconv.Itoa(pid)+"/status", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	f := os.NewFile(uintptr(fd), "status")
	defer f.Close()
	buf := make([]byte, 8192)
	count, err := f.Read(buf)
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(buf[:count])) {
		rest, ok := strings.CutPrefix(line, "NSpid:")
		if !ok {
			continue
		}
		var ids []int
		for word := range strings.FieldsSeq(rest) {
			id, err := strconv.Atoi(word)
			if err != nil {
				return nil
			}
			ids = append(ids, id)
		}
		return ids
	}
	return nil
}

func (n *inside) readlink(path string) (string, error) {
	buf := make([]byte, 64)
	count, err := unix.Readlinkat(int(n.hostProc.Fd()), path, buf)
	return string(buf[:max(count, 0)]), err
}
