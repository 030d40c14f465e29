package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// children returns the children of all threads of a process.
func children(pid int) []int {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid)) // the pattern is well-formed
	var pids []int
	for _, f := range files {
		text, _ := os.ReadFile(f) // gone: no children
		for word := range strings.FieldsSeq(string(text)) {
			if n, err := strconv.Atoi(word); err == nil {
				pids = append(pids, n)
			}
		}
	}
	return pids
}

func descendants(pid int) []int {
	var all []int
	for _, c := range children(pid) {
		all = append(append(all, c), descendants(c)...)
	}
	return all
}

// field returns a line of /proc/PID/status; "" if the process is gone.
func field(pid int, name string) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)) // gone: no text
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// innermost is the pid that a process has in its own namespace; 0 if it is gone.
func innermost(pid int) int {
	ids := strings.Fields(field(pid, "NSpid"))
	if len(ids) == 0 {
		return 0
	}
	n, _ := strconv.Atoi(ids[len(ids)-1]) // the kernel writes numbers
	return n
}

// killAll sends SIGKILL to all descendants of a process. Parents die first: they
// see nothing of the death of their children.
func killAll(pid int) error {
	for _, p := range descendants(pid) {
		if err := syscall.Kill(p, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("kill %d: %w", p, err)
		}
	}
	return nil
}

// killStrays ends everybody who has outlived launch or restore and came to
// us. Nobody else may be our child then.
func killStrays() error {
	self := os.Getpid()
	for {
		strays := children(self)
		if len(strays) == 0 {
			return nil
		}
		if err := killAll(self); err != nil {
			return err
		}
		for _, pid := range strays { // their children come to us when they have ended
			if _, err := syscall.Wait4(pid, nil, 0, nil); err != nil && !errors.Is(err, syscall.EINTR) && !errors.Is(err, syscall.ECHILD) {
				return fmt.Errorf("wait for %d: %w", pid, err)
			}
		}
	}
}

// sharedMemory lists what we own in /dev/shm under the names that programs which
// were killed leave there.
func sharedMemory() map[string]bool {
	found := map[string]bool{}
	for _, pattern := range []string{"psm_*", "sem.*", "vader_segment.*", "PostgreSQL.*"} {
		names, _ := filepath.Glob("/dev/shm/" + pattern) // the patterns are well-formed
		for _, name := range names {
			info, err := os.Lstat(name)
			if err != nil {
				continue // gone meanwhile
			}
			if stat, ok := info.Sys().(*syscall.Stat_t); ok && int(stat.Uid) == os.Geteuid() {
				found[name] = true
			}
		}
	}
	return found
}

// removeNew removes what has come to /dev/shm since.
func removeNew(before map[string]bool) {
	for name := range sharedMemory() {
		if !before[name] {
			_ = os.Remove(name) // may be gone
		}
	}
}
