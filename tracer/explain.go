package tracer

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/crtrace/crtrace/tracer/procfs"
)

// YamaScope returns kernel.yama.ptrace_scope, or -1 where the kernel has no Yama.
func YamaScope() int {
	text, err := os.ReadFile("/proc/sys/kernel/yama/ptrace_scope")
	if err != nil {
		return -1
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return -1
	}
	return n
}

// explain turns a refusal to trace a process into a *PermissionError that says
// who refused and what the user can do, and the loss of the process into
// ErrTaskGone. Other errors are returned as they are.
func explain(pid int, err error) error {
	if procfs.Gone(err) || Ending(pid) {
		return fmt.Errorf("process %d: %w", pid, ErrTaskGone)
	}
	if !errors.Is(err, syscall.EPERM) && !errors.Is(err, syscall.EACCES) {
		return err
	}
	if e := Permission(pid); e != nil {
		return e
	}
	return &PermissionError{PID: pid, Why: "the kernel does not let you trace it (" + err.Error() + ")",
		Hint: "run crtrace as the user who owns the process, outside sandboxes that forbid ptrace"}
}

// Permission looks for what would keep the caller from tracing a process: a
// *PermissionError, or ErrTaskGone when it is ending. It returns nil when nothing
// is seen; the kernel may still refuse.
func Permission(pid int) error {
	status, err := procfs.ReadStatus(pid)
	if err != nil {
		return nil
	}
	uid := os.Geteuid()
	switch {
	case status.TracerPid != 0 && !Ending(status.TracerPid):
		return &PermissionError{PID: pid, Why: fmt.Sprintf("it is traced already, by process %d", status.TracerPid),
			Hint: "end the debugger or tracer first"}
	case uid != 0 && status.UIDs != [4]int{uid, uid, uid, uid}:
		return &PermissionError{PID: pid, Why: fmt.Sprintf("it belongs to user %d", status.UIDs[0]),
			Hint: "run crtrace as that user"}
	}
	if uid == 0 {
		return nil
	}
	if f, err := os.Open("/proc/" + strconv.Itoa(pid) + "/mem"); err == nil {
		f.Close()
		return nil
	}
	if Ending(pid) {
		return fmt.Errorf("process %d: %w", pid, ErrTaskGone)
	}
	if scope := YamaScope(); scope > 0 {
		return &PermissionError{PID: pid, Why: fmt.Sprintf("kernel.yama.ptrace_scope=%d forbids tracing it", scope),
			Hint: "start the program with 'crtrace launch', or let it call prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY), " +
				"or ask the administrator to set kernel.yama.ptrace_scope=0"}
	}
	return &PermissionError{PID: pid, Why: "it is not dumpable (it changed its identity, or called prctl(PR_SET_DUMPABLE, 0))",
		Hint: "such a program can't be checkpointed by an ordinary user"}
}
