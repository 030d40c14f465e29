package tracer

import (
	"encoding/binary"
	"time"

	"github.com/crtrace/crtrace/regs"
	"golang.org/x/sys/unix"
)

// Error numbers that the kernel keeps to itself (include/linux/errno.h). A task
// that is stopped on its way out of an interrupted system call shows them.
const (
	eRestartSys   = 512
	eRestartNoInt = 513
	eRestartNoHnd = 514
	eRestartBlock = 516
)

// timeoutArg tells where a system call has its relative time-out.
type timeoutArg int

const (
	timeoutNone     timeoutArg = iota // it has none
	timeoutMillis                     // a number of milliseconds, negative: for ever
	timeoutTimespec                   // a pointer to a struct timespec, null: for ever
	timeoutTimeval                    // a pointer to a struct timeval, null: for ever
)

// callInfo is what must be known of a system call to issue it again.
type callInfo struct {
	name    string
	timeout timeoutArg
	arg     int // index of the time-out among the arguments
	rest    int // index of the pointer that the kernel writes the rest to, -1: none
	// back: the kernel writes the rest over the time-out and restarts the call,
	// or, when the program may not write there, ends it with -EINTR.
	back bool
	// eintr marks the calls that an interrupt ends with -EINTR although no
	// signal is delivered (kernel 6.18): a program must not see that.
	eintr bool
}

// calls64 lists the calls of the 64-bit table that need more than a rewind.
var calls64 = map[int]callInfo{
	unix.SYS_POLL:            {"poll", timeoutMillis, 2, -1, false, false},
	unix.SYS_NANOSLEEP:       {"nanosleep", timeoutTimespec, 0, 1, false, false},
	unix.SYS_CLOCK_NANOSLEEP: {"clock_nanosleep", timeoutTimespec, 2, 3, false, false},
	unix.SYS_FUTEX:           {"futex", timeoutTimespec, 3, -1, false, false},
	unix.SYS_SELECT:          {"select", timeoutTimeval, 4, -1, true, true},
	unix.SYS_PSELECT6:        {"pselect6", timeoutTimespec, 4, -1, true, true},
	unix.SYS_PPOLL:           {"ppoll", timeoutTimespec, 2, -1, true, true},
	unix.SYS_EPOLL_WAIT:      {"epoll_wait", timeoutMillis, 3, -1, false, true},
	unix.SYS_EPOLL_PWAIT:     {"epoll_pwait", timeoutMillis, 3, -1, false, true},
	unix.SYS_EPOLL_PWAIT2:    {"epoll_pwait2", timeoutTimespec, 3, -1, false, true},
	unix.SYS_RT_SIGTIMEDWAIT: {"rt_sigtimedwait", timeoutTimespec, 2, -1, false, true},
	unix.SYS_SEMOP:           {"semop", timeoutNone, 0, -1, false, true},
	unix.SYS_SEMTIMEDOP:      {"semtimedop", timeoutTimespec, 3, -1, false, true},
	unix.SYS_IO_GETEVENTS:    {"io_getevents", timeoutNone, 0, -1, false, true},
	unix.SYS_RECVFROM:        {"recvfrom", timeoutNone, 0, -1, false, true},
	unix.SYS_RECVMSG:         {"recvmsg", timeoutNone, 0, -1, false, true},
	unix.SYS_ACCEPT:          {"accept", timeoutNone, 0, -1, false, true},
	unix.SYS_ACCEPT4:         {"accept4", timeoutNone, 0, -1, false, true},
	unix.SYS_READ:            {"read", timeoutNone, 0, -1, false, true},
	unix.SYS_READV:           {"readv", timeoutNone, 0, -1, false, true},
	unix.SYS_RECVMMSG:        {"recvmmsg", timeoutNone, 0, -1, false, true},
	unix.SYS_CONNECT:         {"connect", timeoutNone, 0, -1, false, true},
	unix.SYS_SENDTO:          {"sendto", timeoutNone, 0, -1, false, true},
	unix.SYS_SENDMSG:         {"sendmsg", timeoutNone, 0, -1, false, true},
	unix.SYS_SENDMMSG:        {"sendmmsg", timeoutNone, 0, -1, false, true},
	unix.SYS_WRITE:           {"write", timeoutNone, 0, -1, false, true},
	unix.SYS_WRITEV:          {"writev", timeoutNone, 0, -1, false, true},
	unix.SYS_IO_URING_ENTER:  {"io_uring_enter", timeoutNone, 0, -1, false, true},
}

// calls32 is the same for the 32-bit table (arch/x86/entry/syscalls/syscall_32.tbl).
var calls32 = map[int]callInfo{
	168: {"poll", timeoutMillis, 2, -1, false, false},
	162: {"nanosleep", timeoutTimespec, 0, 1, false, false},
	267: {"clock_nanosleep", timeoutTimespec, 2, 3, false, false},
	407: {"clock_nanosleep_time64", timeoutTimespec, 2, 3, false, false},
	240: {"futex", timeoutTimespec, 3, -1, false, false},
	422: {"futex_time64", timeoutTimespec, 3, -1, false, false},
	142: {"select", timeoutTimeval, 4, -1, true, true},
	308: {"pselect6", timeoutTimespec, 4, -1, true, true},
	413: {"pselect6_time64", timeoutTimespec, 4, -1, true, true},
	309: {"ppoll", timeoutTimespec, 2, -1, true, true},
	414: {"ppoll_time64", timeoutTimespec, 2, -1, true, true},
	256: {"epoll_wait", timeoutMillis, 3, -1, false, true},
	319: {"epoll_pwait", timeoutMillis, 3, -1, false, true},
	441: {"epoll_pwait2", timeoutTimespec, 3, -1, false, true},
	177: {"rt_sigtimedwait", timeoutTimespec, 2, -1, false, true},
	421: {"rt_sigtimedwait_time64", timeoutTimespec, 2, -1, false, true},
	117: {"ipc", timeoutNone, 0, -1, false, true},
	420: {"semtimedop_time64", timeoutTimespec, 3, -1, false, true},
	102: {"socketcall", timeoutNone, 0, -1, false, true},
	371: {"recvfrom", timeoutNone, 0, -1, false, true},
	372: {"recvmsg", timeoutNone, 0, -1, false, true},
	364: {"accept4", timeoutNone, 0, -1, false, true},
	3:   {"read", timeoutNone, 0, -1, false, true},
	145: {"readv", timeoutNone, 0, -1, false, true},
	337: {"recvmmsg", timeoutNone, 0, -1, false, true},
	417: {"recvmmsg_time64", timeoutNone, 0, -1, false, true},
	362: {"connect", timeoutNone, 0, -1, false, true},
	369: {"sendto", timeoutNone, 0, -1, false, true},
	370: {"sendmsg", timeoutNone, 0, -1, false, true},
	345: {"sendmmsg", timeoutNone, 0, -1, false, true},
	4:   {"write", timeoutNone, 0, -1, false, true},
	146: {"writev", timeoutNone, 0, -1, false, true},
	247: {"io_getevents", timeoutNone, 0, -1, false, true},
	426: {"io_uring_enter", timeoutNone, 0, -1, false, true},
}

// wide32 are the calls of the 32-bit table whose struct timespec is 16 bytes.
var wide32 = map[int]bool{413: true, 414: true, 407: true, 422: true, 441: true, 421: true, 420: true}

// Interruption is what a stopped thread's registers say of the system call that
// it was interrupted in.
type Interruption struct {
	NR   int    // number in the table of the thread's mode
	Name string // empty where the call has no entry of its own
	// Block: the kernel keeps the rest of the time-out in the task's restart
	// block; a call that is merely issued again would wait the full time.
	Block bool
	// Remaining is what is left of a relative time-out, -1 where there is none
	// or the call itself keeps account (select, ppoll).
	Remaining time.Duration
	// Exact: Remaining was measured. Otherwise it is the full time-out.
	Exact bool

	info callInfo
}

// interruption reads the registers of a stopped thread. It returns nil when the
// thread was not inside a system call that has to be issued again. genuine
// tells that a signal is about to be delivered, so that EINTR is what the
// program has to see.
func interruption(r *regs.AMD64, genuine bool) *Interruption {
	if !r.InSyscall() {
		return nil
	}
	in := &Interruption{Remaining: -1}
	in.setNumber(int(int32(r.OrigRax)), r.Compat())
	switch -int64(int32(r.Rax)) {
	case eRestartSys, eRestartNoInt, eRestartNoHnd:
		return in
	case eRestartBlock:
		in.Block = true
		return in
	case int64(unix.EINTR):
		if in.info.eintr && !genuine {
			return in
		}
	}
	return nil
}

// setNumber sets which call it is.
func (in *Interruption) setNumber(nr int, compat bool) {
	table := calls64
	if compat {
		table = calls32
	}
	in.NR, in.info = nr, table[nr]
	in.Name = in.info.name
}

// Rewind returns the registers with which the thread issues its call again.
func Rewind(r regs.AMD64) regs.AMD64 {
	r.Rax = r.OrigRax
	r.Rip -= 2 // syscall, sysenter's landing pad and int $0x80 all have two bytes
	r.OrigRax = ^uint64(0)
	return r
}

// args returns the registers that carry the arguments of a system call.
func args(r *regs.AMD64) [6]*uint64 {
	if r.Compat() {
		return args32(r)
	}
	return args64(r)
}

// args64 returns them in the order of the 64-bit table, whatever the mode.
func args64(r *regs.AMD64) [6]*uint64 {
	return [6]*uint64{&r.Rdi, &r.Rsi, &r.Rdx, &r.R10, &r.R8, &r.R9}
}

// args32 returns them in the order of the 32-bit table (int $0x80).
func args32(r *regs.AMD64) [6]*uint64 {
	return [6]*uint64{&r.Rbx, &r.Rcx, &r.Rdx, &r.Rsi, &r.Rdi, &r.Rbp}
}

// measure finds what is left of the call's time-out. waited returns how long the
// thread had been waiting, negative when that is unknown.
func (in *Interruption) measure(r *regs.AMD64, mem *Memory, waited func() time.Duration) {
	if !in.relative(r) || in.writtenBack(r) {
		return
	}
	a := args(r)
	value := *a[in.info.arg]
	switch in.info.timeout {
	case timeoutMillis:
		if int32(value) < 0 {
			return
		}
		in.Remaining = time.Duration(int32(value)) * time.Millisecond
	case timeoutTimespec, timeoutTimeval:
		full, ok := in.timespec(r, mem, value)
		if !ok {
			return
		}
		in.Remaining = full
		if in.info.rest >= 0 && in.Block {
			if rest, ok := in.timespec(r, mem, *a[in.info.rest]); ok && rest <= full {
				in.Remaining, in.Exact = rest, true
				return
			}
		}
	default:
		return
	}
	if elapsed := waited(); elapsed >= 0 {
		in.Remaining, in.Exact = max(in.Remaining-elapsed, 0), true
	}
}

// relative tells whether the call's time-out counts from its start.
func (in *Interruption) relative(r *regs.AMD64) bool {
	const (
		timerAbstime = 1
		futexWait    = 0
		futexCommand = 0x7f
	)
	a := args(r)
	switch in.info.name {
	case "clock_nanosleep", "clock_nanosleep_time64":
		return *a[1]&timerAbstime == 0
	case "futex", "futex_time64":
		return *a[1]&futexCommand == futexWait
	}
	return in.info.timeout != timeoutNone
}

// writtenBack tells whether the kernel has put the rest of the time-out in place
// of the whole.
func (in *Interruption) writtenBack(r *regs.AMD64) bool {
	return in.info.back && -int64(int32(r.Rax)) == eRestartNoHnd
}

// unit is how many nanoseconds the second number of the time-out counts.
func (in *Interruption) unit() int64 {
	if in.info.timeout == timeoutTimeval {
		return int64(time.Microsecond)
	}
	return 1
}

// timespec reads a struct timespec or timeval of the program.
func (in *Interruption) timespec(r *regs.AMD64, mem *Memory, addr uint64) (time.Duration, bool) {
	if addr == 0 {
		return 0, false
	}
	if r.Compat() && !wide32[in.NR] {
		var b [8]byte
		if mem.Read(addr, b[:]) != nil {
			return 0, false
		}
		sec, nsec := int32(binary.LittleEndian.Uint32(b[:])), int32(binary.LittleEndian.Uint32(b[4:]))
		return duration(int64(sec), int64(nsec)*in.unit())
	}
	var b [16]byte
	if mem.Read(addr, b[:]) != nil {
		return 0, false
	}
	return duration(int64(binary.LittleEndian.Uint64(b[:])), int64(binary.LittleEndian.Uint64(b[8:]))*in.unit())
}

// encode is the reverse of timespec.
func (in *Interruption) encode(left time.Duration, compat bool) []byte {
	sec, frac := uint64(left/time.Second), uint64(int64(left%time.Second)/in.unit())
	if compat && !wide32[in.NR] {
		b := binary.LittleEndian.AppendUint32(nil, uint32(sec))
		return binary.LittleEndian.AppendUint32(b, uint32(frac))
	}
	b := binary.LittleEndian.AppendUint64(nil, sec)
	return binary.LittleEndian.AppendUint64(b, frac)
}

// duration converts a struct timespec; values beyond 290 years are not counted.
func duration(sec, nsec int64) (time.Duration, bool) {
	if sec < 0 || nsec < 0 || nsec >= int64(time.Second) || sec > 1<<33 {
		return 0, false
	}
	return time.Duration(sec)*time.Second + time.Duration(nsec), true
}

// shorten puts what is left of the time-out into the argument register of a call
// whose time-out is a number. The register is one that function calls don't
// preserve.
func (in *Interruption) shorten(r *regs.AMD64, left time.Duration) {
	if in.info.timeout == timeoutMillis && in.Exact {
		*args(r)[in.info.arg] = uint64((max(left, 0) + time.Millisecond - 1) / time.Millisecond)
	}
}
