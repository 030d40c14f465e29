package procfs

import "time"

// Tasks lists the threads of a process, ascending.
func Tasks(pid int) ([]int, error) { return numbers(pidPath(pid, "task")) }

// Processes lists all processes that the caller can see, ascending.
func Processes() ([]int, error) { return numbers("/proc") }

// AwaitStopped waits until a process is stopped by job control. A tracer that lets
// a stopped process go has it pass through the running state, on its way back
// into the stop.
func AwaitStopped(pid int, patience time.Duration) {
	tick := time.NewTicker(50 * time.Microsecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); time.Now().Before(end); <-tick.C {
		if s, err := ReadStat(pid); err != nil || s.State == 'T' {
			return
		}
	}
}

// Ancestors lists the processes from a process's parent upwards, as far as they
// are visible. The list is cut short where one of them ends meanwhile.
func Ancestors(pid int) []int {
	var up []int
	const most = 4096 // a bound, should ids change meanwhile and lead in a circle
	for len(up) < most {
		s, err := ReadStat(pid)
		if err != nil || s.PPID <= 0 {
			break
		}
		pid = s.PPID
		up = append(up, pid)
	}
	return up
}
