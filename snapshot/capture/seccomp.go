package capture

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"

	"github.com/crtrace/crtrace/parasite"
	"github.com/crtrace/crtrace/tracer"
	"github.com/crtrace/crtrace/tracer/procfs"
	"golang.org/x/sys/unix"
)

// surveySeccomp refuses programs under a system call filter, for an injected call
// that it forbids could end the program. In a container every process is under
// one, crtrace too: a filter that both have from a common ancestor, and that does
// no harm to a process of ours which makes the same calls, is no reason to refuse.
func (t *target) surveySeccomp(status procfs.Status) {
	const strict, filter = 1, 2
	why := ""
	switch {
	case status.Seccomp == 0:
		return
	case status.Seccomp == strict:
		why = "it may make no system calls but read and write"
	case status.Seccomp != filter || !t.sharesFilters(status.SeccompFilters):
		why = "its own system call filter is in force, and an injected call that it forbids could end the program"
	default:
		if err := tryInjectedCalls(); err != nil {
			why = fmt.Sprintf("the system call filter of this container forbids what a checkpoint needs (%v)", err)
		}
	}
	if why != "" {
		t.refuse("seccomp", why, "run the program without its sandbox")
	}
}

// sharesFilters tells whether all threads of the process have exactly the filters
// that this process has. Filters are inherited and never removed, so two
// processes that have as many as their nearest common ancestor have the same.
func (t *target) sharesFilters(count int) bool {
	if count == 0 { // kernels before 5.9 do not tell
		return false
	}
	ancestor, ok := commonAncestor(t.pid, os.Getpid())
	if !ok {
		return false
	}
	for _, pid := range []int{os.Getpid(), ancestor} {
		if s, err := procfs.ReadStatus(pid); err != nil || s.SeccompFilters != count {
			return false
		}
	}
	tids, err := procfs.Tasks(t.pid)
	if err != nil {
		return false
	}
	for _, tid := range tids {
		s, err := procfs.ReadTaskStatus(t.pid, tid)
		if err != nil && !procfs.Gone(err) || err == nil && s.SeccompFilters != count {
			return false
		}
	}
	return true
}

// commonAncestor returns the nearest process that two processes descend from; it
// may be one of them.
func commonAncestor(a, b int) (int, bool) {
	ours := append([]int{b}, procfs.Ancestors(b)...)
	for _, pid := range append([]int{a}, procfs.Ancestors(a)...) {
		if slices.Contains(ours, pid) {
			return pid, true
		}
	}
	return 0, false
}

// injectedCalls are all calls that a checkpoint makes inside a program, with
// arguments that do nothing.
var injectedCalls = []parasite.Record{
	{NR: unix.SYS_MMAP, Args: [6]uint64{0, scratchPage, unix.PROT_READ | unix.PROT_WRITE, unix.MAP_PRIVATE | unix.MAP_ANONYMOUS, ^uint64(0)}},
	{NR: unix.SYS_MUNMAP, Args: [6]uint64{0, scratchPage}},
	{NR: unix.SYS_RT_SIGPROCMASK, Args: [6]uint64{unix.SIG_SETMASK, 0, 0, 8}},
	{NR: unix.SYS_RT_SIGACTION, Args: [6]uint64{uint64(unix.SIGUSR1), 0, 0, 8}},
	{NR: unix.SYS_SIGALTSTACK},
	{NR: unix.SYS_BRK},
	{NR: unix.SYS_FCNTL, Args: [6]uint64{0, unix.F_GETFD}},
	{NR: unix.SYS_WAITID, Args: [6]uint64{unix.P_PID, 1, 0, unix.WSTOPPED | unix.WNOHANG | unix.WNOWAIT}},
	{NR: unix.SYS_MINCORE, Args: [6]uint64{0, 0, 0}},
	{NR: unix.SYS_SEMOP, Args: [6]uint64{^uint64(0)}},
	{NR: unix.SYS_SETSOCKOPT, Args: [6]uint64{^uint64(0)}},
	{NR: unix.SYS_MEMBARRIER, Args: [6]uint64{membarrierGetRegistered}},
	{NR: unix.SYS_GETITIMER},
	{NR: unix.SYS_ARCH_PRCTL, Args: [6]uint64{archGetXCompPerm}},
	{NR: unix.SYS_TIMER_GETTIME, Args: [6]uint64{^uint64(0)}},
	{NR: unix.SYS_TIMER_GETOVERRUN, Args: [6]uint64{^uint64(0)}},
	{NR: unix.SYS_PRCTL, Args: [6]uint64{prGetTIDAddress}},
	{NR: unix.SYS_PRCTL, Args: [6]uint64{unix.PR_GET_TIMERSLACK}},
	{NR: unix.SYS_PRCTL, Args: [6]uint64{unix.PR_GET_PDEATHSIG}},
	{NR: unix.SYS_PRCTL, Args: [6]uint64{unix.PR_GET_DUMPABLE}},
	{NR: unix.SYS_PRCTL, Args: [6]uint64{unix.PR_GET_KEEPCAPS}},
	{NR: unix.SYS_PRCTL, Args: [6]uint64{unix.PR_GET_THP_DISABLE}},
	{NR: unix.SYS_PRCTL, Args: [6]uint64{prGetMemoryMerge}},
	{NR: unix.SYS_PRCTL, Args: [6]uint64{prGetMDWE}},
	{NR: unix.SYS_PRCTL, Args: [6]uint64{unix.PR_MCE_KILL_GET}},
	{NR: unix.SYS_PRCTL, Args: [6]uint64{unix.PR_GET_CHILD_SUBREAPER}},
	{NR: unix.SYS_PRCTL, Args: [6]uint64{unix.PR_GET_TSC}},
}

const scratchPage = 4096

// tryInjectedCalls makes the calls in a process of ours that has our filters, once.
// An error means that they would have ended a program.
var tryInjectedCalls = sync.OnceValue(func() error {
	return tracer.Do(func() error {
		s, err := tracer.Spawn("/proc/self/exe", nil, nil)
		if err != nil {
			return err
		}
		_, err = s.Leader().Batch(injectedCalls, 0)
		return errors.Join(err, s.Kill(), tracer.Reap(s.PID))
	})
})
