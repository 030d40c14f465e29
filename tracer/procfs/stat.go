package procfs

import (
	"bytes"
	"strings"
)

// Stat is /proc/PID/stat. Addresses are 0 for callers who may not trace the
// process. Ticks are those of sysconf(_SC_CLK_TCK), 100 a second.
type Stat struct {
	PID   int
	Comm  string // any bytes but NUL, newlines and parentheses included
	State byte   // R, S, D, T, t, Z, X, I, ...
	PPID  int
	PGID  int
	SID   int
	TTY   int // device number of the controlling terminal, 0: none
	TPGID int // foreground process group of the terminal, -1: none
	Flags uint64

	MinFault, ChildMinFault uint64
	MajFault, ChildMajFault uint64
	UTime, STime            uint64 // ticks
	ChildUTime, ChildSTime  int64  // ticks

	Priority  int
	Nice      int
	Threads   int
	StartTime uint64 // ticks since boot, in the reader's time namespace
	VSize     uint64 // bytes
	RSS       int64  // pages

	StartCode, EndCode uint64
	StartStack         uint64
	ExitSignal         int
	Processor          int // CPU that ran the thread last
	RTPriority         int
	Policy             int // SCHED_*

	StartData, EndData uint64
	StartBrk           uint64
	ArgStart, ArgEnd   uint64
	EnvStart, EnvEnd   uint64
	ExitCode           int // as wait(2) has it
}

// Stopped tells whether job control or a tracer has stopped the thread.
func (s *Stat) Stopped() bool { return s.State == 'T' || s.State == 't' }

// Kernel tells whether it is a thread of the kernel.
func (s *Stat) Kernel() bool {
	const kthread = 0x00200000 // PF_KTHREAD
	return s.Flags&kthread != 0
}

// ReadStat reads the state of a process: that of its leading thread, with the
// times of all threads.
func ReadStat(pid int) (Stat, error) { return read(pidPath(pid, "stat"), parseStat) }

// ReadTaskStat reads the state of one thread.
func ReadTaskStat(pid, tid int) (Stat, error) { return read(taskPath(pid, tid, "stat"), parseStat) }

// statFields is the number of words after the name. Kernels have had them all
// since 3.5; later ones may append more.
const statFields = 50

// parseStat reads a stat file. Only the last parenthesis is certain to be the
// kernel's own: the name before it is the program's choice.
func parseStat(data []byte) (Stat, error) {
	var s Stat
	open, end := bytes.IndexByte(data, '('), bytes.LastIndexByte(data, ')')
	if open < 0 || end < open {
		return s, badLine(1, data, "no name in parentheses")
	}
	pid, ok := integer(trim(data[:open]))
	if !ok {
		return s, badLine(1, data, "bad process id")
	}
	s.PID, s.Comm = pid, string(data[open+1:end])
	rest, more := cutLine(data[end+1:])
	if len(more) > 0 {
		return s, badLine(2, more, "more than one record")
	}
	if i := s.fill(rest); i != 0 {
		return Stat{}, badLine(1+strings.Count(s.Comm, "\n"), rest, "bad or missing field "+statField(i))
	}
	return s, nil
}

// statField names a field as proc(5) counts them.
func statField(i int) string { return string([]byte{byte('0' + i/10), byte('0' + i%10)}) }

// fill reads the words after the name. It returns the number of the first word
// that is bad or missing, as proc(5) counts them, or 0.
func (s *Stat) fill(rest []byte) int {
	var f []byte
	if f, rest = cutField(rest); len(f) != 1 {
		return 3
	}
	s.State = f[0]
	ints := [statFields + 3]*int{4: &s.PPID, 5: &s.PGID, 6: &s.SID, 7: &s.TTY, 8: &s.TPGID,
		18: &s.Priority, 19: &s.Nice, 20: &s.Threads, 38: &s.ExitSignal, 39: &s.Processor,
		40: &s.RTPriority, 41: &s.Policy, 52: &s.ExitCode}
	longs := [statFields + 3]*int64{16: &s.ChildUTime, 17: &s.ChildSTime, 24: &s.RSS}
	words := [statFields + 3]*uint64{9: &s.Flags, 10: &s.MinFault, 11: &s.ChildMinFault,
		12: &s.MajFault, 13: &s.ChildMajFault, 14: &s.UTime, 15: &s.STime, 22: &s.StartTime,
		23: &s.VSize, 26: &s.StartCode, 27: &s.EndCode, 28: &s.StartStack, 45: &s.StartData,
		46: &s.EndData, 47: &s.StartBrk, 48: &s.ArgStart, 49: &s.ArgEnd, 50: &s.EnvStart, 51: &s.EnvEnd}
	for i := 4; i < statFields+3; i++ {
		f, rest = cutField(rest)
		ok := len(f) > 0
		switch {
		case ints[i] != nil:
			*ints[i], ok = integer(f)
		case longs[i] != nil:
			*longs[i], ok = signed(f)
		case words[i] != nil:
			*words[i], ok = decimal(f)
		}
		if !ok {
			return i
		}
	}
	return 0
}
