package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/crtrace/crtrace/tracer"
)

// checkYama says what the Yama security module allows.
func checkYama(context.Context) []Check {
	name := "Yama"
	switch scope := tracer.YamaScope(); scope {
	case -1:
		return []Check{{name, OK, "not in this kernel: no restriction"}}
	case 0:
		return []Check{{name, OK, "kernel.yama.ptrace_scope=0: no restriction"}}
	case 1:
		return []Check{{name, Warn, "kernel.yama.ptrace_scope=1: only ancestors may trace; start programs with 'crtrace launch'"}}
	default:
		return []Check{{name, Warn, fmt.Sprintf("kernel.yama.ptrace_scope=%d: tracing needs the administrator", scope)}}
	}
}

// traced is what checkTrace learns about a stopped child.
type traced struct {
	xstate int   // bytes of extended state
	rseq   error // of PTRACE_GET_RSEQ_CONFIGURATION
}

// checkTrace stops a child as a checkpoint does and reads its registers.
func checkTrace(ctx context.Context) []Check {
	var t traced
	err := withProbe(ctx, func(pid int) error { return onThread(func() error { return t.take(pid) }) })
	if err != nil {
		return []Check{{nameTrace, No, "children can't be stopped, so nothing works: is there a container or sandbox that forbids ptrace? (" + err.Error() + ")"}}
	}
	checks := []Check{{nameTrace, OK, fmt.Sprintf("stopped and read; extended state of %d bytes", t.xstate)}}
	return append(checks, one("read rseq registrations", t.rseq,
		"PTRACE_GET_RSEQ_CONFIGURATION answers", "programs with restartable sequences (glibc 2.35 and later) can't be restored exactly")...)
}

// take seizes, interrupts and reads the process pid. It runs on a thread that
// ends afterwards, which lets the process go.
func (t *traced) take(pid int) error {
	if err := unix.PtraceSeize(pid); err != nil {
		return os.NewSyscallError("ptrace(PTRACE_SEIZE)", err)
	}
	if err := unix.PtraceInterrupt(pid); err != nil {
		return os.NewSyscallError("ptrace(PTRACE_INTERRUPT)", err)
	}
	var status unix.WaitStatus
	for {
		_, err := unix.Wait4(pid, &status, unix.WALL, nil)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("wait4", err)
		}
	}
	if !status.Stopped() {
		return fmt.Errorf("the child has ended (status %#x)", uint32(status))
	}
	var err error
	if t.xstate, err = xstateSize(pid); err != nil {
		return err
	}
	t.rseq = rseqConfiguration(pid)
	return nil
}

// checkReading reads a child's memory, and takes a descriptor of it.
func checkReading(ctx context.Context) []Check {
	var value, got uint64 = 0x6372747261636521, 0
	var fdErr error
	err := withProbe(ctx, func(pid int) error {
		fdErr = takeDescriptor(pid)
		at, err := firstArea(pid)
		if err != nil {
			return err
		}
		got = value
		return readMemory(pid, at, &got)
	})
	if err == nil && got == value {
		err = errors.New("nothing was read")
	}
	return append(one(nameRead, err, "process_vm_readv works", "checkpoints are impossible"),
		one("take a process's descriptors", fdErr, "pidfd_getfd works", "open files can't be captured")...)
}

// firstArea returns the start of a process's first memory area, which is
// readable in any program.
func firstArea(pid int) (uint64, error) {
	var start uint64
	f, err := os.Open(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	_, err = fmt.Fscanf(f, "%x-", &start)
	return start, err
}

// takeDescriptor takes the standard input of a process.
func takeDescriptor(pid int) error {
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return os.NewSyscallError("pidfd_open", err)
	}
	defer unix.Close(pidfd)
	fd, err := unix.PidfdGetfd(pidfd, 0, 0)
	if err != nil {
		return os.NewSyscallError("pidfd_getfd", err)
	}
	return unix.Close(fd)
}

// checkOthers has one child trace another: they are not related by descent.
func checkOthers(ctx context.Context) []Check {
	err := withProbe(ctx, func(pid int) error {
		_, err := ask(ctx, dying(), "seize", strconv.Itoa(pid))
		return err
	})
	if err != nil {
		return []Check{{nameOthers, Warn, "refused (" + err.Error() + "): 'crtrace checkpoint' works for programs under 'crtrace launch' only"}}
	}
	return []Check{{nameOthers, OK, "allowed: any program of yours can be checkpointed"}}
}

// withProbe runs fn on a child that waits.
func withProbe(ctx context.Context, fn func(pid int) error) error {
	p, line, err := start(ctx, dying(), "wait")
	if err != nil {
		return err
	}
	defer p.close()
	if line != "ready" {
		return fmt.Errorf("probe answers %q", line)
	}
	return fn(p.pid())
}

// dying makes a child die with this process, whatever happens to it.
func dying() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
