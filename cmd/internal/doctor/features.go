package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// checkMM asks for the size of the structure with which a process may describe
// its memory: the call exists where CONFIG_CHECKPOINT_RESTORE is.
func checkMM(context.Context) []Check {
	return one(nameMM, mmMapSize(), "PR_SET_MM_MAP is there", "restore is impossible: the kernel was built without CONFIG_CHECKPOINT_RESTORE")
}

// checkPagemap scans the memory of this process.
func checkPagemap(context.Context) []Check {
	err := pagemapScan()
	if err != nil {
		return []Check{{"find pages quickly", Warn, "no PAGEMAP_SCAN (" + err.Error() + "): /proc/PID/pagemap is read instead, slower for large programs"}}
	}
	return []Check{{"find pages quickly", OK, "PAGEMAP_SCAN works"}}
}

// checkUserfault asks for the tracking of written pages.
func checkUserfault(context.Context) []Check {
	err := userfaultAsync()
	if err != nil {
		return []Check{{"track written pages", Warn, "no asynchronous write protection (" + err.Error() + "): incremental checkpoints read all memory"}}
	}
	return []Check{{"track written pages", OK, "userfaultfd with WP_ASYNC works"}}
}

// checkKcmp compares this process with itself.
func checkKcmp(context.Context) []Check {
	const kcmpVM = 1
	pid := uintptr(os.Getpid())
	_, _, errno := unix.Syscall6(unix.SYS_KCMP, pid, pid, kcmpVM, 0, 0, 0)
	var err error
	if errno != 0 {
		err = os.NewSyscallError("kcmp", errno)
	}
	return one("tell shared descriptors", err, "kcmp works", "descriptors that share a file position can't be told apart")
}

// checkSched looks for the time at which a thread has gone to sleep.
func checkSched(context.Context) []Check {
	data, err := os.ReadFile("/proc/self/sched")
	if err == nil && !bytes.Contains(data, []byte("se.exec_start")) {
		err = errors.New("no se.exec_start in it")
	}
	if err != nil {
		return []Check{{"measure sleeping times", Warn, "/proc/PID/sched can't be used (" + err.Error() + "): sleeps begin anew after a restore"}}
	}
	return []Check{{"measure sleeping times", OK, "sleeps and time-outs go on with what was left of them"}}
}

// checkRseq asks whether the kernel knows restartable sequences at all.
func checkRseq(context.Context) []Check {
	_, _, errno := unix.Syscall6(unix.SYS_RSEQ, 0, 0, ^uintptr(0), 0, 0, 0)
	if errno == unix.ENOSYS {
		return []Check{{"restartable sequences", Warn, "not in this kernel: images of programs that use them can't be restored here"}}
	}
	return []Check{{"restartable sequences", OK, "known to this kernel"}}
}

// checkKernel names the kernel.
func checkKernel(context.Context) []Check {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return []Check{{"kernel", Warn, err.Error()}}
	}
	release := unix.ByteSliceToString(u.Release[:])
	var major, minor int
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil {
		return []Check{{"kernel", Warn, "release " + release + ": unknown form"}}
	}
	detail := fmt.Sprintf("Linux %s, %s", release, unix.ByteSliceToString(u.Machine[:]))
	if major < 5 || major == 5 && minor < 13 {
		return []Check{{"kernel", Warn, detail + ": 5.13 or later is needed to capture programs with restartable sequences"}}
	}
	return []Check{{"kernel", OK, detail}}
}

// checkRoom looks for memory, disk space and descriptors.
func checkRoom(context.Context) []Check {
	var checks []Check
	free, err := memAvailable()
	mode, _ := readInt("/proc/sys/vm/overcommit_memory") // 0, the default, where it can't be read
	switch {
	case err != nil:
		checks = append(checks, Check{"memory", Warn, err.Error()})
	case mode == 2:
		checks = append(checks, Check{"memory", Warn, fmt.Sprintf("%d MiB available; vm.overcommit_memory=2: restoring large programs may be refused", free>>20)})
	default:
		checks = append(checks, Check{"memory", OK, fmt.Sprintf("%d MiB available", free>>20)})
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(".", &fs); err != nil {
		checks = append(checks, Check{"disk", Warn, "current directory: " + err.Error()})
	} else {
		checks = append(checks, Check{"disk", OK, fmt.Sprintf("%d MiB free in the current directory", fs.Bavail*uint64(fs.Bsize)>>20)})
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return append(checks, Check{"descriptors", Warn, err.Error()})
	}
	return append(checks, Check{"descriptors", OK, fmt.Sprintf("at most %d open files", limit.Max)})
}

// memAvailable reads how much memory can still be had, in bytes.
func memAvailable() (uint64, error) {
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		var kib uint64
		if n, _ := fmt.Sscanf(line, "MemAvailable: %d kB", &kib); n == 1 {
			return kib << 10, nil
		}
	}
	return 0, errors.New("no MemAvailable in /proc/meminfo")
}
