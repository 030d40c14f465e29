package tracer

import (
	"time"

	"github.com/crtrace/crtrace/tracer/procfs"
	"golang.org/x/sys/unix"
)

// sleepers holds what was seen of sleeping threads before they were stopped.
//
// The kernel keeps how long a blocked thread has waited to itself. But
// se.exec_start in /proc/TID/sched is the scheduler's clock when the thread last
// ran, which is when it fell asleep; "now" on the same clock is the exec_start of
// a thread that is running on the same CPU (the clocks of two CPUs differ). It
// must be read before the thread is stopped, for stopping wakes it.
//
// A time-out must never be cut short, so it must be certain that the thread
// slept through until it was stopped. It did if it has run once since then, and
// did not begin to before the interrupt: it ended with the stop, whose time
// exec_start tells, and sum_exec_runtime tells how long it ran.
type sleepers struct {
	pid     int
	threads map[int]sleeper
	wchan   map[int]string   // where in the kernel each thread slept
	clocks  map[int]cpuClock // by CPU
}

type sleeper struct {
	slept time.Duration // up to seen
	seen  time.Time
	sched procfs.Sched
}

// sampleSleepers looks at all sleeping threads of a process. Where something
// can't be read the thread is left out, and its time counts as unknown.
func sampleSleepers(pid int) sleepers {
	s := sleepers{pid, map[int]sleeper{}, map[int]string{}, map[int]cpuClock{}}
	tids, err := procfs.Tasks(pid)
	if err != nil {
		return s
	}
	byCPU := map[int][]int{}
	for _, tid := range tids {
		if stat, err := procfs.ReadTaskStat(pid, tid); err == nil && stat.State == 'S' {
			byCPU[stat.Processor] = append(byCPU[stat.Processor], tid)
			s.wchan[tid] = readWchan(pid, tid)
		}
	}
	var before unix.CPUSet
	if len(byCPU) == 0 || unix.SchedGetaffinity(0, &before) != nil {
		return s
	}
	defer func() { _ = unix.SchedSetaffinity(0, &before) }() // this thread ends soon anyway
	for cpu, tids := range byCPU {
		clock, ok := newCPUClock(cpu)
		if !ok {
			continue
		}
		s.clocks[cpu] = clock
		for _, tid := range tids {
			if seen, ok := clock.look(pid, tid, cpu); ok {
				s.threads[tid] = seen
			}
		}
	}
	return s
}

// look finds out since when a thread sleeps. It must still sleep afterwards, and
// on this CPU: it may have run on another one since it was listed, and the time
// that it fell asleep is by that one's clock then. Clocks were seen to differ by
// seconds, and a time-out that is cut short by that ends at once.
func (c cpuClock) look(pid, tid, cpu int) (sleeper, bool) {
	sched, err := procfs.ReadSched(pid, tid)
	if err != nil {
		return sleeper{}, false
	}
	slept, seen := c.now()-time.Duration(sched.ExecStart), time.Now()
	stat, err := procfs.ReadTaskStat(pid, tid)
	if err != nil || stat.State != 'S' || stat.Processor != cpu {
		return sleeper{}, false
	}
	return sleeper{max(slept, 0), seen, sched}, true
}

// elapsed returns how long a thread that is stopped now had been waiting in the
// call that it was stopped in, negative when unknown.
func (s sleepers) elapsed(t *Task) time.Duration {
	seen, ok := s.threads[t.TID]
	if !ok {
		return -1
	}
	sched, err := procfs.ReadSched(s.pid, t.TID)
	if err != nil || sched.Voluntary != seen.sched.Voluntary+1 || sched.Switches != seen.sched.Switches+1 {
		return -1 // it has run more than once
	}
	stat, err := procfs.ReadTaskStat(s.pid, t.TID)
	if err != nil {
		return -1
	}
	clock, ok := s.clocks[stat.Processor]
	if !ok {
		return -1 // it was stopped on another CPU, whose clock is not known
	}
	ran := time.Duration(sched.Runtime - seen.sched.Runtime)
	if woke := clock.wall(sched.ExecStart).Add(-ran); woke.Before(t.interrupted) {
		return -1
	}
	return max(seen.slept+t.proc.frozenFor(seen.seen)-sleepMargin, 0)
}

// voluntarySwitches returns how often a thread has given up the CPU by itself, 0
// where the kernel does not tell. A ptrace stop counts.
func voluntarySwitches(t *Task) uint64 {
	sched, err := procfs.ReadSched(t.proc.PID, t.TID)
	if err != nil {
		return 0
	}
	return sched.Voluntary
}

// frozenFor returns the time from a moment to the freeze.
func (p *Process) frozenFor(from time.Time) time.Duration { return p.Frozen.Sub(from) }

// sleepMargin is taken off what was measured. The scheduler's clock leaves out what
// the host of a virtual machine has taken, so it errs to the safe side by itself: a
// sleep may become longer, but not shorter. The two clocks may drift a little.
const sleepMargin = time.Millisecond

// cpuClock is the scheduler's clock of one CPU. It showed base at some moment not
// before early and not after late.
type cpuClock struct {
	base        time.Duration
	early, late time.Time
}

// newCPUClock moves the calling thread to a CPU and reads its clock.
func newCPUClock(cpu int) (cpuClock, bool) {
	var set unix.CPUSet
	set.Set(cpu)
	if unix.SchedSetaffinity(0, &set) != nil {
		return cpuClock{}, false
	}
	const attempts, exactly = 8, 30 * time.Microsecond
	var best cpuClock
	narrowest := exactly
	for range attempts {
		early := time.Now()
		_, _, _ = unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0) // brings exec_start up to date; never fails
		yielded := time.Since(early)
		if yielded >= narrowest { // perhaps somebody else ran in between
			continue
		}
		sched, err := procfs.ReadSched(unix.Getpid(), unix.Gettid())
		if err != nil {
			return cpuClock{}, false
		}
		narrowest, best = yielded, cpuClock{time.Duration(sched.ExecStart), early, time.Now()}
	}
	return best, narrowest < exactly
}

// now returns what the clock shows, or a little less.
func (c cpuClock) now() time.Duration { return c.base + time.Since(c.late) }

// wall returns when the clock showed a time, or a little before.
func (c cpuClock) wall(sched int64) time.Time { return c.early.Add(time.Duration(sched) - c.base) }
