package tracer

import (
	"encoding/binary"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/crtrace/crtrace/regs"
	"golang.org/x/sys/unix"
)

// A call with a relative time-out that was interrupted before (by a stop signal,
// by an earlier checkpoint) goes on as restart_syscall: the kernel has put that
// number in place of the call's own, and keeps the time of its end to itself.
// The functions here find out what the call was and when it ends.

// restartCalls are the calls that the kernel goes on with in this way.
var restartCalls = map[bool][]uint32{
	false: {unix.SYS_NANOSLEEP, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_POLL, unix.SYS_FUTEX},
	true:  {162, 267, 407, 168, 240, 422},
}

// undoRestart recognises a thread that the kernel has just prepared to issue
// restart_syscall, and that was stopped again before it did: an interrupt that
// comes soon after another one does that. Its registers are taken back to what
// they were before; the kernel will prepare it again.
func (t *Task) undoRestart() {
	number, call := uint64(unix.SYS_RESTART_SYSCALL), [2]byte{0x0f, 0x05}
	if t.regs.Compat() {
		number, call = 0, [2]byte{0xcd, 0x80}
	}
	var code [2]byte
	if !t.regs.InSyscall() || t.regs.Rax != number || t.proc.Mem.Read(t.regs.Rip, code[:]) != nil || code != call {
		return
	}
	block := int64(-eRestartBlock)
	t.regs.Rip += 2
	t.regs.Rax = uint64(block)
}

// isRestart tells whether a thread is in restart_syscall.
func isRestart(r *regs.AMD64) bool {
	const restart32 = 0
	if r.Compat() {
		return r.OrigRax == restart32
	}
	return r.OrigRax == unix.SYS_RESTART_SYSCALL
}

// originalCall returns the number of the call that a thread in restart_syscall
// had made. Programs load the number with an immediate operand just before the
// system call instruction, 32-bit ones before they call the vdso. Where they don't
// (syscall(3)), the place in the kernel at which the thread slept (wchan, read
// before it was stopped; not all kernels tell) and the arguments do.
func originalCall(r *regs.AMD64, mem *Memory, wchan string) (int, bool) {
	if nr, ok := loadedNumber(r.Rip-2, mem, r.Compat()); ok {
		return nr, true
	}
	if r.Compat() {
		// The vdso saves three registers above the return address.
		const saved = 12 // bytes
		var caller [4]byte
		if mem.Read(r.Rsp+saved, caller[:]) == nil {
			if nr, ok := loadedNumber(uint64(binary.LittleEndian.Uint32(caller[:])), mem, true); ok {
				return nr, true
			}
		}
	}
	return (&guess{r: r, mem: mem, wchan: wchan}).number()
}

// loadedNumber looks for the instruction that loads the number of a call, in the
// code before an address.
func loadedNumber(before uint64, mem *Memory, compat bool) (int, bool) {
	const back = 32
	var code [back]byte
	if mem.Read(before-back, code[:]) != nil {
		return 0, false
	}
	for i := back - 5; i >= 0; i-- {
		if code[i] != 0xb8 { // mov $imm32, %eax
			continue
		}
		nr := binary.LittleEndian.Uint32(code[i+1:])
		if slices.Contains(restartCalls[compat], nr) {
			return int(nr), true
		}
	}
	return 0, false
}

// readWchan returns the kernel function in which a thread sleeps.
func readWchan(pid, tid int) string {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/task/" + strconv.Itoa(tid) + "/wchan")
	if err != nil {
		return ""
	}
	return string(text)
}

// Sleeps remembers when the interrupted calls of threads end, from one
// checkpoint to the next. Without it only the time since the last interruption
// is known. It may be used from any goroutine; nil remembers nothing.
type Sleeps struct {
	mu  sync.Mutex
	end map[int]sleepEnd // by thread id
}

// sleepEnd is the end of one call. A call is recognised by where it was made and
// with which arguments, and by the thread's count of voluntary switches: when it
// was woken in between, the call is another one.
type sleepEnd struct {
	at        time.Time
	rip, rsp  uint64
	arg       uint64
	voluntary uint64
}

// NewSleeps returns an empty memory.
func NewSleeps() *Sleeps { return &Sleeps{end: map[int]sleepEnd{}} }

// Note remembers that a thread's call ends after the given time.
func (s *Sleeps) Note(tid int, r regs.AMD64, left time.Duration, voluntary uint64) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end[tid] = sleepEnd{time.Now().Add(left), r.Rip, r.Rsp, r.Rdi, voluntary}
}

// left returns what is left of a thread's call, negative when unknown.
func (s *Sleeps) left(tid int, r regs.AMD64, voluntary uint64) time.Duration {
	if s == nil {
		return -1
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.end[tid]
	const stops = 2 // going to sleep again, and this stop
	if !ok || e.rip != r.Rip || e.rsp != r.Rsp || e.arg != r.Rdi || voluntary > e.voluntary+stops {
		return -1
	}
	return max(time.Until(e.at), 0)
}
