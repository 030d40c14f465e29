package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crtrace/crtrace/restore"
)

const (
	insidePID  = 4242
	capAdmin   = unix.CAP_SYS_ADMIN
	capRestore = unix.CAP_CHECKPOINT_RESTORE
	capTime    = unix.CAP_SYS_TIME
)

// checkBurn measures how long it takes to reach a process id: by using up all
// before it with calls of clone that fail after the id was taken.
func checkBurn(ctx context.Context) []Check {
	line, err := ask(ctx, dying(), "burn")
	if err != nil {
		return []Check{{nameBurn, No, "clone does not fail in the way that is needed (" + err.Error() + "): use --pids=namespace or --pids=any"}}
	}
	each, err := time.ParseDuration(line)
	if err != nil {
		return []Check{{nameBurn, No, "the probe answers " + strconv.Quote(line)}}
	}
	most, err := readInt("/proc/sys/kernel/pid_max")
	if err != nil {
		return []Check{{nameBurn, Warn, err.Error()}}
	}
	whole := each * time.Duration(most)
	c := Check{nameBurn, OK, fmt.Sprintf("%.1f us for each id, at most %.1f s for all %d", float64(each.Nanoseconds())/1000, whole.Seconds(), most)}
	if whole > 10*time.Second {
		c.Status = Warn
		c.Detail += ": a restore with --pids=host can take that long, --pids=namespace does not"
	}
	return []Check{c}
}

// burn is the probe of checkBurn: it returns the time for one id.
func burn() (string, error) {
	each, err := restore.BurnCost()
	return each.String(), err
}

// checkSetTID asks whether clone3 may choose the id of the new process.
func checkSetTID(context.Context) []Check {
	switch err := restore.AskSetTID(); {
	case err == nil:
		return []Check{{nameSetTID, OK, "clone3 with set_tid is allowed (you have CAP_CHECKPOINT_RESTORE): ids at once"}}
	case errors.Is(err, unix.EPERM):
		return []Check{{nameSetTID, No, "needs CAP_CHECKPOINT_RESTORE; an ordinary user doesn't have it, and reaches ids in other ways"}}
	default:
		return []Check{{nameSetTID, No, err.Error()}}
	}
}

// namespaceAttr is how restore makes its namespaces: the same user inside as
// outside, with just the capabilities that are needed.
func namespaceAttr(extra uintptr) *syscall.SysProcAttr {
	uid, gid := os.Geteuid(), os.Getegid()
	return &syscall.SysProcAttr{
		Pdeathsig:   syscall.SIGKILL,
		Cloneflags:  unix.CLONE_NEWUSER | extra,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: uid, HostID: uid, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: gid, HostID: gid, Size: 1}},
		AmbientCaps: []uintptr{capAdmin, capRestore, capTime},
	}
}

// checkNamespace makes a user and a pid namespace and chooses an id inside.
func checkNamespace(ctx context.Context) []Check {
	line, err := ask(ctx, namespaceAttr(unix.CLONE_NEWPID|unix.CLONE_NEWNS), "pid-namespace")
	if err != nil {
		return []Check{{nameNamespace, No, "user and pid namespaces are not available: --pids=namespace does not work here (" + err.Error() + ")"}}
	}
	if proc, ok := strings.CutPrefix(line, "no proc: "); ok {
		return []Check{{nameNamespace, Warn, "works, but /proc can't be mounted inside (" + proc + "): programs that read /proc see ids of the host"}}
	}
	return []Check{{nameNamespace, OK, "user and pid namespaces work, with a /proc of their own"}}
}

// insideNamespace is the probe of checkNamespace. It is process 1 there.
func insideNamespace() (string, error) {
	if os.Getpid() != 1 {
		return "", fmt.Errorf("process %d in a new pid namespace", os.Getpid())
	}
	if err := spawnWithTID(insidePID); err != nil {
		return "", err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return "no proc: " + err.Error(), nil
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return "no proc: " + err.Error(), nil
	}
	return "ok", nil
}

// checkTimeNamespace sets the monotonic clock of a time namespace.
func checkTimeNamespace(ctx context.Context) []Check {
	_, err := ask(ctx, namespaceAttr(0), probeTimeNamespace)
	if err != nil {
		return []Check{{"time namespaces", Warn, "not available (" + err.Error() + "): after a reboot, programs see their clock jump back"}}
	}
	return []Check{{"time namespaces", OK, "work: the monotonic clock goes on after a reboot or on another host"}}
}

// insideTimeNamespace is the probe of checkTimeNamespace.
func insideTimeNamespace() error {
	if err := unix.Unshare(unix.CLONE_NEWTIME); err != nil {
		return os.NewSyscallError("unshare(CLONE_NEWTIME)", err)
	}
	return os.WriteFile("/proc/self/timens_offsets", []byte("monotonic 1000 0\n"), 0)
}

// readInt reads a file with one number.
func readInt(path string) (int, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(data)))
}
