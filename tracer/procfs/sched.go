package procfs

import (
	"bytes"
	"math"
)

// Sched holds the counters of /proc/PID/task/TID/sched that tell whether and
// when a thread ran.
type Sched struct {
	ExecStart int64  // scheduler clock of its CPU when it last ran, nanoseconds
	Switches  uint64 // context switches, voluntary or not
	Voluntary uint64
	Runtime   int64 // time on a CPU so far, nanoseconds
}

// ReadSched reads the scheduler's view of a thread. Kernels without
// CONFIG_SCHED_DEBUG do not have it: the error is fs.ErrNotExist.
func ReadSched(pid, tid int) (Sched, error) { return read(taskPath(pid, tid, "sched"), parseSched) }

// parseSched reads lines "key : value" after a rule of dashes. What is before the
// rule holds the name of the thread, which may look like anything but is shorter
// than the rule.
func parseSched(data []byte) (Sched, error) {
	var s Sched
	rule := bytes.Index(data, []byte("\n--------------------"))
	if rule < 0 {
		return s, badFile("not a sched file: no rule of dashes")
	}
	first := bytes.Count(data[:rule+1], newline)
	data = data[rule+1:]
	var start, switches, voluntary, runtime bool
	for n := first + 1; len(data) > 0; n++ {
		var line []byte
		line, data = cutLine(data)
		key, value, _ := bytes.Cut(line, colon)
		ok := true
		switch string(trim(key)) {
		case "se.exec_start":
			s.ExecStart, ok = millis(trim(value))
			start = true
		case "se.sum_exec_runtime":
			s.Runtime, ok = millis(trim(value))
			runtime = true
		case "nr_switches":
			s.Switches, ok = decimal(trim(value))
			switches = true
		case "nr_voluntary_switches":
			s.Voluntary, ok = decimal(trim(value))
			voluntary = true
		}
		if !ok {
			return Sched{}, badLine(n, line, "bad value")
		}
	}
	if !start || !switches || !voluntary || !runtime {
		return Sched{}, badFile("not a sched file: no se.exec_start, se.sum_exec_runtime, nr_switches or nr_voluntary_switches")
	}
	return s, nil
}

// millis reads milliseconds with six decimals into nanoseconds.
func millis(s []byte) (int64, bool) {
	whole, frac, _ := bytes.Cut(s, []byte{'.'})
	ms, ok1 := decimal(whole)
	ns, ok2 := decimal(frac)
	if !ok1 || !ok2 || len(frac) != 6 || ms > (math.MaxInt64-ns)/1e6 {
		return 0, false
	}
	return int64(ms*1e6 + ns), true
}
