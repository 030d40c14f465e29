package tracer

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// stopKind is what kind of stop a task is in.
type stopKind int

const (
	stopNone    stopKind = iota // not stopped
	stopTrap                    // PTRACE_EVENT_STOP after an interrupt, or of a new thread
	stopGroup                   // group stop: the process is stopped by a signal
	stopSignal                  // on its way to get a signal
	stopSyscall                 // at the entry or exit of a system call
	stopEvent                   // another PTRACE_EVENT
	stopGone                    // it has ended
)

// stop is one report of wait.
type stop struct {
	kind  stopKind
	sig   syscall.Signal // stopGroup, stopSignal
	event int            // stopEvent: PTRACE_EVENT_*
}

// decodeStop turns the code and status of a waitid report into a stop. Status
// is the signal, with the event above bit 8 (ptrace(2)).
func decodeStop(code, status int32) stop {
	switch code {
	case 0:
		return stop{}
	case cldExited, cldKilled, cldDumped:
		return stop{kind: stopGone}
	}
	sig, event := syscall.Signal(status&0xff), int(status>>8)
	switch {
	case event == unix.PTRACE_EVENT_STOP && sig == unix.SIGTRAP:
		return stop{kind: stopTrap}
	case event == unix.PTRACE_EVENT_STOP:
		return stop{kind: stopGroup, sig: sig}
	case event != 0:
		return stop{kind: stopEvent, event: event}
	case sig == unix.SIGTRAP|0x80:
		return stop{kind: stopSyscall}
	}
	return stop{kind: stopSignal, sig: sig}
}

// Codes of siginfo_t for SIGCHLD.
const (
	cldExited = 1
	cldKilled = 2
	cldDumped = 3
)

// wait waits for the next report of a tracee. The exit of a thread-group leader
// is seen but left for its parent; that of another thread is consumed, for the
// kernel holds back the leader's exit until then.
//
// The kernel reports a leader's exit only when all other threads have been waited
// for, so a leader is polled, and looked at in between.
func wait(tid int, leader bool) (stop, error) {
	if !leader {
		return waitOptions(tid, leader, 0)
	}
	for i := 0; ; i++ {
		s, err := poll(tid, leader)
		if err != nil || s.kind != stopNone {
			return s, err
		}
		if idle(i) && ended(tid, tid) {
			return stop{kind: stopGone}, nil
		}
	}
}

// idle passes the time between two polls, the longer the more there were, and
// tells whether it has slept.
func idle(polls int) bool {
	const spins, yields, longest = 20, 200, 500 * time.Microsecond
	switch {
	case polls < spins:
		return false
	case polls < yields:
		_, _, _ = unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0) // never fails
		return false
	}
	pause := unix.NsecToTimespec(int64(min(time.Duration(polls-yields+1)*10*time.Microsecond, longest)))
	_ = unix.Nanosleep(&pause, nil) // a shorter pause does no harm
	return true
}

// poll is wait that does not block; stopNone means nothing happened.
func poll(tid int, leader bool) (stop, error) { return waitOptions(tid, leader, unix.WNOHANG) }

func waitOptions(tid int, leader bool, extra int) (stop, error) {
	const look = unix.WSTOPPED | unix.WEXITED | unix.WNOWAIT | unix.WALL
	code, status, err := waitTask(tid, look|extra)
	if errors.Is(err, syscall.ECHILD) {
		return stop{kind: stopGone}, nil
	}
	if err != nil {
		return stop{}, fmt.Errorf("waitid for task %d: %w", tid, err)
	}
	s := decodeStop(code, status)
	switch {
	case s.kind == stopNone, s.kind == stopGone && leader:
		return s, nil
	case s.kind == stopGone:
		_, _, err = waitTask(tid, unix.WEXITED|unix.WNOHANG|unix.WALL)
	default:
		_, _, err = waitTask(tid, unix.WSTOPPED|unix.WNOHANG|unix.WALL)
	}
	if err != nil && !errors.Is(err, syscall.ECHILD) {
		return stop{}, fmt.Errorf("waitid for task %d: %w", tid, err)
	}
	return s, nil
}
