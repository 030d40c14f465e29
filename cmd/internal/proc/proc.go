// Package proc reads the few facts from /proc that the command line and the
// supervisor need about processes that they do not trace: state, parent, group,
// user. The answers are true for the moment of reading only. It keeps no state.
package proc

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Stat is a part of /proc/PID/stat.
type Stat struct {
	PID   int
	Comm  string // as the kernel has it: any bytes but zero
	State byte   // 'R', 'S', 'D', 'T', 't', 'Z', 'X'
	PPID  int
	PGID  int
	SID   int
	TPGID int // foreground group of the controlling terminal, -1 without one
	Flags uint64
}

// kthread is PF_KTHREAD of the kernel's task flags.
const kthread = 0x00200000

// Kernel tells whether the task is a thread of the kernel.
func (s *Stat) Kernel() bool { return s.Flags&kthread != 0 }

// Stopped tells whether job control or a tracer has stopped the task.
func (s *Stat) Stopped() bool { return s.State == 'T' || s.State == 't' }

// ReadStat reads /proc/PID/stat; the error is os.ErrNotExist when there is no
// such task.
func ReadStat(pid int) (*Stat, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	return parseStat(data)
}

// parseStat parses /proc/PID/stat. The name is the only field that can hold
// spaces and parentheses, so it ends at the last parenthesis.
func parseStat(data []byte) (*Stat, error) {
	open, end := bytes.IndexByte(data, '('), bytes.LastIndexByte(data, ')')
	if open < 1 || end < open {
		return nil, fmt.Errorf("stat %q: no name in parentheses", data)
	}
	fields := strings.Fields(string(data[end+1:]))
	if len(fields) < 7 || len(fields[0]) != 1 {
		return nil, fmt.Errorf("stat %q: too few fields", data)
	}
	s := &Stat{Comm: string(data[open+1 : end]), State: fields[0][0]}
	var err error
	if s.PID, err = strconv.Atoi(strings.TrimSpace(string(data[:open]))); err != nil {
		return nil, fmt.Errorf("stat %q: %w", data, err)
	}
	for i, p := range map[int]*int{1: &s.PPID, 2: &s.PGID, 3: &s.SID, 5: &s.TPGID} {
		if *p, err = strconv.Atoi(fields[i]); err != nil {
			return nil, fmt.Errorf("stat %q: %w", data, err)
		}
	}
	if s.Flags, err = strconv.ParseUint(fields[6], 10, 64); err != nil {
		return nil, fmt.Errorf("stat %q: %w", data, err)
	}
	return s, nil
}

// Status returns one line of /proc/PID/status, without its name and spaces. It
// is empty when there is no such line.
func Status(pid int, name string) (string, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return "", err
	}
	return statusLine(string(data), name), nil
}

// statusLine finds a line of /proc/PID/status.
func statusLine(text, name string) string {
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// StatusInt returns the first number of a line of /proc/PID/status.
func StatusInt(pid int, name string) (int, error) {
	line, err := Status(pid, name)
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(strings.ReplaceAll(line, "\t", " "), " ")
	n, err := strconv.Atoi(first)
	if err != nil {
		return 0, fmt.Errorf("process %d: %s %q in its status: %w", pid, name, line, err)
	}
	return n, nil
}

// Ancestors lists the pids from pid's parent up to pid 1. It is cut short where
// a process ends meanwhile.
func Ancestors(pid int) []int {
	var up []int
	for range 4096 { // a bound, should the ids change under our feet in a circle
		st, err := ReadStat(pid)
		if err != nil || st.PPID <= 0 {
			break
		}
		pid = st.PPID
		up = append(up, pid)
	}
	return up
}
