package procfs

import (
	"bytes"
	"slices"
)

// Timer is a POSIX timer, see timer_create(2).
type Timer struct {
	ID       int
	Signal   int
	Sigval   uint64
	Notify   int // SIGEV_SIGNAL 0, SIGEV_NONE 1 or SIGEV_THREAD 2, without SIGEV_THREAD_ID
	ThreadID int // thread that is signalled with SIGEV_THREAD_ID, 0: the process
	Clock    int // CLOCK_*; a CPU-time clock has its negative number, which timer_create takes as well
}

// ReadTimers lists the POSIX timers of a process, by ascending id. It says
// nothing about their times.
func ReadTimers(pid int) ([]Timer, error) { return read(pidPath(pid, "timers"), parseTimers) }

// parseTimers reads four lines for each timer:
//
//	ID: 1
//	signal: 27/0000000000000000
//	notify: signal/tid.123
//	ClockID: 0
func parseTimers(data []byte) ([]Timer, error) {
	var out []Timer
	keys := [...]string{"ID:", "signal:", "notify:", "ClockID:"}
	for n := 0; len(data) > 0; n++ {
		var line []byte
		line, data = cutLine(data)
		value, ok := bytes.CutPrefix(line, []byte(keys[n%4]))
		if !ok {
			return nil, badLine(n+1, line, "no "+keys[n%4])
		}
		if n%4 == 0 {
			out = append(out, Timer{})
		}
		if !out[len(out)-1].set(n%4, trim(value)) {
			return nil, badLine(n+1, line, "bad value")
		}
		if len(data) == 0 && n%4 != 3 {
			return nil, badLine(n+1, line, "no "+keys[n%4+1]+" after it")
		}
	}
	slices.SortFunc(out, func(a, b Timer) int { return a.ID - b.ID })
	return out, nil
}

// set stores one of the four lines.
func (t *Timer) set(which int, value []byte) (ok bool) {
	switch which {
	case 0:
		t.ID, ok = integer(value)
		return ok && t.ID >= 0
	case 1:
		signal, sigval, _ := bytes.Cut(value, slash)
		var ok2 bool
		t.Signal, ok = integer(signal)
		t.Sigval, ok2 = hex(sigval)
		return ok && ok2 && t.Signal >= 0
	case 2:
		return t.setNotify(value)
	default:
		t.Clock, ok = integer(value)
		return ok
	}
}

var slash = []byte{'/'}

// setNotify reads "signal/pid.1", "none/tid.2" and so on.
func (t *Timer) setNotify(value []byte) bool {
	how, target, _ := bytes.Cut(value, slash)
	switch string(how) {
	case "signal":
		t.Notify = 0
	case "none":
		t.Notify = 1
	case "thread":
		t.Notify = 2
	default:
		return false
	}
	kind, number, _ := bytes.Cut(target, []byte{'.'})
	id, ok := integer(number)
	if !ok || id < 0 {
		return false
	}
	if string(kind) == "tid" {
		t.ThreadID = id
		return true
	}
	return string(kind) == "pid"
}
