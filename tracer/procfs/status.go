package procfs

import (
	"bytes"
	"math"
	"strings"
)

// Status is /proc/PID/status. Masks of signals have bit N-1 for signal N.
type Status struct {
	Name      string // name of the thread
	State     string // as in "S (sleeping)"
	Tgid      int    // process
	Pid       int    // thread
	PPid      int
	TracerPid int    // 0: not traced
	UIDs      [4]int // real, effective, saved, file system
	GIDs      [4]int
	Groups    []int
	NStgid    []int // process id in each pid namespace, the reader's first
	NSpid     []int // thread id in each pid namespace, the reader's first
	Threads   int

	SigPnd, ShdPnd         uint64 // pending for the thread, for the process
	SigBlk, SigIgn, SigCgt uint64

	CapInh, CapPrm, CapEff, CapBnd, CapAmb uint64

	NoNewPrivs     int
	Seccomp        int // SECCOMP_MODE_*: 0 none, 1 strict, 2 filter
	SeccompFilters int // kernels before 5.9 do not tell
	Umask          uint32

	VoluntarySwitches    uint64
	NonvoluntarySwitches uint64

	ThreadFeatures string // x86_Thread_features, such as "shstk wrss"
	CoreDumping    bool
	Kthread        bool // a kernel thread; kernels before 6.8 do not tell
}

// ReadStatus reads the status of the leading thread of a process.
func ReadStatus(pid int) (Status, error) { return read(pidPath(pid, "status"), parseStatus) }

// ReadTaskStatus reads the status of one thread.
func ReadTaskStatus(pid, tid int) (Status, error) {
	return read(taskPath(pid, tid, "status"), parseStatus)
}

// parseStatus reads lines "Key:\tvalue".
func parseStatus(data []byte) (Status, error) {
	var s Status
	var seen statusSeen
	for n := 1; len(data) > 0; n++ {
		var line []byte
		line, data = cutLine(data)
		colon := bytes.IndexByte(line, ':')
		if colon <= 0 {
			return Status{}, badLine(n, line, "no key")
		}
		if !s.set(string(line[:colon]), line[colon+1:], &seen) {
			return Status{}, badLine(n, line, "bad value")
		}
	}
	if seen != (statusSeen{true, true, true, true}) {
		return Status{}, badFile("not a status file: no Tgid, Pid, Uid or Gid")
	}
	return s, nil
}

// statusSeen remembers which of the lines have come that tell who a task is.
type statusSeen struct{ tgid, pid, uid, gid bool }

// set stores one value and reports whether it was well-formed. Unknown keys are.
func (s *Status) set(key string, value []byte, seen *statusSeen) bool {
	if key == "Name" {
		s.Name = unescapeComm(strings.TrimPrefix(string(value), "\t"))
		return true
	}
	value = trim(value)
	if ok, known := s.setInt(key, value, seen); known {
		return ok
	}
	if ok, known := s.setMask(key, value); known {
		return ok
	}
	ok := true
	switch key {
	case "State":
		s.State = string(value)
		ok = s.State != ""
	case "Umask":
		var n uint64
		n, ok = octal(value)
		ok = ok && n <= 0o7777
		s.Umask = uint32(n)
	case "Uid":
		s.UIDs, ok = fourIDs(value)
		seen.uid = true
	case "Gid":
		s.GIDs, ok = fourIDs(value)
		seen.gid = true
	case "Groups":
		s.Groups, ok = integers(value)
	case "NStgid":
		s.NStgid, ok = integers(value)
	case "NSpid":
		s.NSpid, ok = integers(value)
	case "voluntary_ctxt_switches":
		s.VoluntarySwitches, ok = decimal(value)
	case "nonvoluntary_ctxt_switches":
		s.NonvoluntarySwitches, ok = decimal(value)
	case "x86_Thread_features":
		s.ThreadFeatures = string(value)
	case "CoreDumping":
		s.CoreDumping, ok = flag(value)
	case "Kthread":
		s.Kthread, ok = flag(value)
	}
	return ok
}

// setInt stores a plain number.
func (s *Status) setInt(key string, value []byte, seen *statusSeen) (ok, known bool) {
	var field *int
	switch key {
	case "Tgid":
		field, seen.tgid = &s.Tgid, true
	case "Pid":
		field, seen.pid = &s.Pid, true
	case "PPid":
		field = &s.PPid
	case "TracerPid":
		field = &s.TracerPid
	case "Threads":
		field = &s.Threads
	case "NoNewPrivs":
		field = &s.NoNewPrivs
	case "Seccomp":
		field = &s.Seccomp
	case "Seccomp_filters":
		field = &s.SeccompFilters
	default:
		return false, false
	}
	*field, ok = integer(value)
	return ok && *field >= 0, true
}

// setMask stores a mask of signals or capabilities.
func (s *Status) setMask(key string, value []byte) (ok, known bool) {
	var field *uint64
	switch key {
	case "SigPnd":
		field = &s.SigPnd
	case "ShdPnd":
		field = &s.ShdPnd
	case "SigBlk":
		field = &s.SigBlk
	case "SigIgn":
		field = &s.SigIgn
	case "SigCgt":
		field = &s.SigCgt
	case "CapInh":
		field = &s.CapInh
	case "CapPrm":
		field = &s.CapPrm
	case "CapEff":
		field = &s.CapEff
	case "CapBnd":
		field = &s.CapBnd
	case "CapAmb":
		field = &s.CapAmb
	default:
		return false, false
	}
	*field, ok = hex(value)
	return ok, true
}

// flag reads "0" or "1".
func flag(s []byte) (value, ok bool) {
	return string(s) == "1", string(s) == "0" || string(s) == "1"
}

// fourIDs reads four user or group ids.
func fourIDs(s []byte) ([4]int, bool) {
	ids, ok := integers(s)
	if !ok || len(ids) != 4 {
		return [4]int{}, false
	}
	for _, id := range ids {
		if id < 0 || id > math.MaxUint32 {
			return [4]int{}, false
		}
	}
	return [4]int(ids), true
}

// unescapeComm undoes what the kernel does to a name in status (but not in
// stat and comm): \n for a newline, \\ for a backslash.
func unescapeComm(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	return commEscapes.Replace(s)
}

var commEscapes = strings.NewReplacer(`\\`, `\`, `\n`, "\n")
