package tests

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/crtrace/crtrace/tests/internal/victims"
)

func isToolchain(err error) bool { return errors.Is(err, victims.ErrToolchain) }

// alive says whether a process exists, zombies included.
func alive(pid int) bool { return !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

// statusField returns a line of /proc/PID/status, "" if the process is gone.
func statusField(pid int, name string) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)) // gone: no text
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// runs says whether a process lives, is no zombie, and nobody traces it.
func runs(pid int) bool {
	state := statusField(pid, "State")
	return state != "" && state[0] != 'Z' && state[0] != 'X' && statusField(pid, "TracerPid") == "0"
}

// children returns the pids of the children of all threads of a process.
func children(pid int) []int {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
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

// descendants returns all processes below pid.
func descendants(pid int) []int {
	var all []int
	for _, c := range children(pid) {
		all = append(append(all, c), descendants(c)...)
	}
	return all
}

// traces is what a careless checkpoint would leave behind in a program.
type traces struct {
	Descriptors []string
	Children    []int
	Threads     int
	Foreign     []string // executable areas that are not the program's own
}

// look collects the traces of a process that runs.
func look(t *testing.T, pid int) traces {
	t.Helper()
	var s traces
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		target, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, e.Name())) // closed meanwhile: ""
		s.Descriptors = append(s.Descriptors, e.Name()+" "+target)
	}
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	s.Threads = len(tasks)
	s.Children = children(pid)
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) >= 5 && strings.Contains(f[1], "x") {
			s.Foreign = append(s.Foreign, f[0]+" "+f[1])
		}
	}
	return s
}

// stableDescriptors drops what a victim opens and closes all the time.
func (s traces) stableDescriptors() []string {
	return slices.DeleteFunc(slices.Clone(s.Descriptors), func(d string) bool {
		return strings.Contains(d, "/proc/") || strings.HasSuffix(d, "/opened-for-a-moment") || strings.HasSuffix(d, " ")
	})
}

// yamaForbids says whether only ancestors may trace a process of the same user.
func yamaForbids() bool {
	text, err := os.ReadFile("/proc/sys/kernel/yama/ptrace_scope")
	return err == nil && strings.TrimSpace(string(text)) != "0" && os.Geteuid() != 0
}
