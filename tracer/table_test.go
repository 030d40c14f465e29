package tracer

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/crtrace/crtrace/regs"
	"github.com/crtrace/crtrace/tracer/procfs"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestDecodeStop(t *testing.T) {
	for _, c := range []struct {
		name         string
		code, status int32
		want         stop
	}{
		{"nothing", 0, 0, stop{}},
		{"exited", cldExited, 3, stop{kind: stopGone}},
		{"killed", cldKilled, 9, stop{kind: stopGone}},
		{"dumped", cldDumped, 11, stop{kind: stopGone}},
		{"interrupted", 4, 0x8005, stop{kind: stopTrap}},
		{"stopped by SIGSTOP", 4, 0x8013, stop{kind: stopGroup, sig: unix.SIGSTOP}},
		{"stopped by SIGTTIN", 4, 0x8015, stop{kind: stopGroup, sig: unix.SIGTTIN}},
		{"execve", 4, unix.PTRACE_EVENT_EXEC<<8 | 5, stop{kind: stopEvent, event: unix.PTRACE_EVENT_EXEC}},
		{"clone", 4, unix.PTRACE_EVENT_CLONE<<8 | 5, stop{kind: stopEvent, event: unix.PTRACE_EVENT_CLONE}},
		{"system call", 4, 0x85, stop{kind: stopSyscall}},
		{"breakpoint", 4, 5, stop{kind: stopSignal, sig: unix.SIGTRAP}},
		{"signal", 4, 10, stop{kind: stopSignal, sig: unix.SIGUSR1}},
		{"real-time signal", 4, 64, stop{kind: stopSignal, sig: 64}},
	} {
		if got := decodeStop(c.code, c.status); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

// stopped64 and stopped32 are the registers of a thread that was stopped in a call.
func stopped64(nr, rax int64) regs.AMD64 {
	return regs.AMD64{Rip: 0x401002, OrigRax: uint64(nr), Rax: uint64(rax), Cs: regs.UserCS64, Rdi: 1, Rsi: 2, Rdx: 3, R10: 4, R8: 5, R9: 6}
}

// The kernel shows the registers of 32-bit threads zero-extended or sign-extended,
// by the way that the call came in.
func stopped32(nr, rax int64) regs.AMD64 {
	return regs.AMD64{Rip: 0x8049002, OrigRax: uint64(nr), Rax: uint64(uint32(rax)), Cs: regs.UserCS32, Rbx: 1, Rcx: 2, Rdx: 3, Rsi: 4, Rdi: 5, Rbp: 6}
}

// seen is the part of an Interruption that the tests look at.
type seen struct {
	NR    int
	Name  string
	Block bool
}

func TestInterruption(t *testing.T) {
	const (
		sys, noInt, noHand, block = -512, -513, -514, -516
		eintr                     = -4
	)
	for _, c := range []struct {
		name    string
		regs    regs.AMD64
		genuine bool
		want    *seen
	}{
		{"outside", stopped64(-1, 0), false, nil},
		{"outside, with a value like a restart", stopped64(-1, sys), false, nil},
		{"ended well", stopped64(unix.SYS_READ, 5), false, nil},
		{"failed", stopped64(unix.SYS_READ, -int64(unix.EAGAIN)), false, nil},
		{"nanosleep", stopped64(unix.SYS_NANOSLEEP, block), false, &seen{unix.SYS_NANOSLEEP, "nanosleep", true}},
		{"clock_nanosleep", stopped64(unix.SYS_CLOCK_NANOSLEEP, block), false, &seen{unix.SYS_CLOCK_NANOSLEEP, "clock_nanosleep", true}},
		{"clock_nanosleep to a time", stopped64(unix.SYS_CLOCK_NANOSLEEP, noHand), false, &seen{unix.SYS_CLOCK_NANOSLEEP, "clock_nanosleep", false}},
		{"poll", stopped64(unix.SYS_POLL, block), false, &seen{unix.SYS_POLL, "poll", true}},
		{"futex", stopped64(unix.SYS_FUTEX, block), false, &seen{unix.SYS_FUTEX, "futex", true}},
		{"futex without end", stopped64(unix.SYS_FUTEX, sys), false, &seen{unix.SYS_FUTEX, "futex", false}},
		{"ppoll", stopped64(unix.SYS_PPOLL, noHand), false, &seen{unix.SYS_PPOLL, "ppoll", false}},
		{"select", stopped64(unix.SYS_SELECT, noHand), false, &seen{unix.SYS_SELECT, "select", false}},
		{"pause", stopped64(unix.SYS_PAUSE, noHand), false, &seen{unix.SYS_PAUSE, "", false}},
		{"rt_sigsuspend", stopped64(unix.SYS_RT_SIGSUSPEND, noHand), false, &seen{unix.SYS_RT_SIGSUSPEND, "", false}},
		{"msgrcv", stopped64(unix.SYS_MSGRCV, noHand), false, &seen{unix.SYS_MSGRCV, "", false}},
		{"read", stopped64(unix.SYS_READ, sys), false, &seen{unix.SYS_READ, "read", false}},
		{"wait4", stopped64(unix.SYS_WAIT4, sys), false, &seen{unix.SYS_WAIT4, "", false}},
		{"restart without a handler", stopped64(unix.SYS_READ, noInt), false, &seen{unix.SYS_READ, "read", false}},
		{"epoll_wait", stopped64(unix.SYS_EPOLL_WAIT, eintr), false, &seen{unix.SYS_EPOLL_WAIT, "epoll_wait", false}},
		{"epoll_wait by a signal", stopped64(unix.SYS_EPOLL_WAIT, eintr), true, nil},
		{"nanosleep by a signal", stopped64(unix.SYS_NANOSLEEP, eintr), true, nil},
		{"close with EINTR", stopped64(unix.SYS_CLOSE, eintr), false, nil},
		{"going on", stopped64(unix.SYS_RESTART_SYSCALL, block), false, &seen{unix.SYS_RESTART_SYSCALL, "", true}},
		{"32: nanosleep", stopped32(162, block), false, &seen{162, "nanosleep", true}},
		{"32: clock_nanosleep_time64", stopped32(407, block), false, &seen{407, "clock_nanosleep_time64", true}},
		{"32: the 64-bit number of read", stopped32(unix.SYS_SETXATTR, eintr), false, nil},
		{"32: semop by ipc", stopped32(117, eintr), false, &seen{117, "ipc", false}},
		{"32: recv by socketcall", stopped32(102, eintr), false, &seen{102, "socketcall", false}},
		{"32: sign-extended", func() regs.AMD64 { r := stopped32(3, 0); n := int64(sys); r.Rax = uint64(n); return r }(), false, &seen{3, "read", false}},
		{"32: going on", stopped32(0, block), false, &seen{0, "", true}},
	} {
		got := interruption(&c.regs, c.genuine)
		var have *seen
		if got != nil {
			have = &seen{got.NR, got.Name, got.Block}
			if got.Remaining != -1 || got.Exact {
				t.Errorf("%s: has a remaining time of %v before it was measured", c.name, got.Remaining)
			}
		}
		if diff := cmp.Diff(c.want, have); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

// TestEINTRCalls: every call that an interrupt ends with EINTR is issued again,
// in both tables.
func TestEINTRCalls(t *testing.T) {
	for _, nr := range []int64{unix.SYS_EPOLL_WAIT, unix.SYS_EPOLL_PWAIT, unix.SYS_EPOLL_PWAIT2, unix.SYS_RT_SIGTIMEDWAIT,
		unix.SYS_SEMOP, unix.SYS_SEMTIMEDOP, unix.SYS_IO_GETEVENTS, unix.SYS_IO_URING_ENTER, unix.SYS_RECVFROM, unix.SYS_RECVMSG,
		unix.SYS_RECVMMSG, unix.SYS_ACCEPT, unix.SYS_ACCEPT4, unix.SYS_READ, unix.SYS_READV, unix.SYS_SENDTO, unix.SYS_SENDMSG,
		unix.SYS_SENDMMSG, unix.SYS_WRITE, unix.SYS_WRITEV, unix.SYS_CONNECT, unix.SYS_SELECT, unix.SYS_PSELECT6, unix.SYS_PPOLL} {
		if r := stopped64(nr, -int64(unix.EINTR)); interruption(&r, false) == nil {
			t.Errorf("call %d would fail with EINTR", nr)
		}
	}
	for _, nr := range []int64{256, 319, 441, 177, 421, 117, 420, 247, 426, 102, 371, 372, 337, 417, 364, 3, 145, 369, 370, 345, 4, 146, 362, 142, 308, 413, 309, 414} {
		if r := stopped32(nr, -int64(unix.EINTR)); interruption(&r, false) == nil {
			t.Errorf("32-bit call %d would fail with EINTR", nr)
		}
	}
}

func TestRewind(t *testing.T) {
	for name, r := range map[string]regs.AMD64{"64": stopped64(unix.SYS_POLL, -516), "32": stopped32(168, -516)} {
		want := r
		want.Rip, want.Rax, want.OrigRax = r.Rip-2, r.OrigRax, ^uint64(0)
		if diff := cmp.Diff(want, Rewind(r)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// self is this process's memory, for calls whose arguments are pointers.
func ownMemory(t *testing.T) *Memory {
	t.Helper()
	m, err := OpenMemory(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func TestMeasure(t *testing.T) {
	const ms, unknown = time.Millisecond, -1
	mem := ownMemory(t)
	wide := func(sec, nsec int64) uint64 { return pinned(t, sec, nsec) }
	set := func(r regs.AMD64, arg int, v uint64) regs.AMD64 { *args(&r)[arg] = v; return r }
	for _, c := range []struct {
		name   string
		regs   regs.AMD64
		waited time.Duration
		left   time.Duration
		exact  bool
	}{
		{"poll", set(stopped64(unix.SYS_POLL, -516), 2, 3000), 1000 * ms, 2000 * ms, true},
		{"poll, not known how long", set(stopped64(unix.SYS_POLL, -516), 2, 3000), unknown, 3000 * ms, false},
		{"poll, overdue", set(stopped64(unix.SYS_POLL, -516), 2, 3000), 5000 * ms, 0, true},
		{"poll for ever", set(stopped64(unix.SYS_POLL, -514), 2, 0xffffffff), 1000 * ms, -1, false},
		{"epoll_wait", set(stopped64(unix.SYS_EPOLL_WAIT, -4), 3, 500), 100 * ms, 400 * ms, true},
		{"nanosleep", set(set(stopped64(unix.SYS_NANOSLEEP, -516), 0, wide(2, 500)), 1, 0), 1000 * ms, time.Second + 500, true},
		{"nanosleep with the rest", set(set(stopped64(unix.SYS_NANOSLEEP, -516), 0, wide(2, 0)), 1, wide(1, 7)), unknown, time.Second + 7, true},
		{"nanosleep with garbage for a rest", set(set(stopped64(unix.SYS_NANOSLEEP, -516), 0, wide(2, 0)), 1, wide(9, 0)), unknown, 2 * time.Second, false},
		{"nanosleep of nonsense", set(stopped64(unix.SYS_NANOSLEEP, -516), 0, wide(0, 1e9)), 0, -1, false},
		{"nanosleep with a wild pointer", set(stopped64(unix.SYS_NANOSLEEP, -516), 0, 8), 0, -1, false},
		{"clock_nanosleep", set(set(set(stopped64(unix.SYS_CLOCK_NANOSLEEP, -516), 1, 0), 2, wide(3, 0)), 3, 0), 1000 * ms, 2000 * ms, true},
		{"clock_nanosleep to a time", set(set(stopped64(unix.SYS_CLOCK_NANOSLEEP, -514), 1, 1), 2, wide(3, 0)), 1000 * ms, -1, false},
		{"futex", set(set(stopped64(unix.SYS_FUTEX, -516), 1, 128), 3, wide(3, 0)), 1000 * ms, 2000 * ms, true},
		{"futex without time", set(set(stopped64(unix.SYS_FUTEX, -512), 1, 128), 3, 0), 1000 * ms, -1, false},
		{"futex to a time", set(set(stopped64(unix.SYS_FUTEX, -516), 1, 128|9), 3, wide(3, 0)), 1000 * ms, -1, false},
		{"ppoll keeps account itself", set(stopped64(unix.SYS_PPOLL, -514), 2, wide(3, 0)), 1000 * ms, -1, false},
		{"ppoll of a constant", set(stopped64(unix.SYS_PPOLL, -4), 2, wide(3, 0)), 1000 * ms, 2000 * ms, true},
		{"select of a constant", set(stopped64(unix.SYS_SELECT, -4), 4, wide(3, 500)), 1000 * ms, 2*time.Second + 500*time.Microsecond, true},
		{"read", stopped64(unix.SYS_READ, -512), 1000 * ms, -1, false},
		{"32: poll", set(stopped32(168, -516), 2, 3000), 1000 * ms, 2000 * ms, true},
		{"32: poll for ever", set(stopped32(168, -514), 2, 0xffffffff), 1000 * ms, -1, false},
	} {
		in := interruption(&c.regs, false)
		if in == nil {
			t.Errorf("%s: no interruption", c.name)
			continue
		}
		in.measure(&c.regs, mem, func() time.Duration { return c.waited })
		if in.Remaining != c.left || in.Exact != c.exact {
			t.Errorf("%s: %v left, exact %v; want %v, %v", c.name, in.Remaining, in.Exact, c.left, c.exact)
		}
	}
}

// TestShorten: only a measured time goes into a register, rounded up.
func TestShorten(t *testing.T) {
	for _, c := range []struct {
		left  time.Duration
		exact bool
		want  uint64
	}{{1500 * time.Microsecond, true, 2}, {0, true, 0}, {time.Second, true, 1000}, {time.Second, false, 3000}} {
		r := stopped64(unix.SYS_POLL, -516)
		r.Rdx = 3000
		in := interruption(&r, false)
		in.Remaining, in.Exact = c.left, c.exact
		if in.shorten(&r, in.Remaining); r.Rdx != c.want {
			t.Errorf("%v, exact %v: %d ms, want %d", c.left, c.exact, r.Rdx, c.want)
		}
	}
}

func TestFreeArea(t *testing.T) {
	const low, page, size = 0x1000_0000, 0x1000, 0x4000
	area := func(start, end uint64) procfs.Mapping { return procfs.Mapping{Start: start, End: end} }
	for _, c := range []struct {
		name string
		maps []procfs.Mapping
		want uint64 // 0: none
	}{
		{"nothing mapped", nil, low},
		{"far below and above", []procfs.Mapping{area(0x400000, 0x500000), area(0x7fff_0000_0000, 0x7fff_0000_1000)}, low},
		{"one page is free before", []procfs.Mapping{area(0x400000, low-page)}, low},
		{"no page is free before", []procfs.Mapping{area(0x400000, low)}, low + page},
		{"just room with a page behind", []procfs.Mapping{area(low+size+page, low+size+2*page)}, low},
		{"no page free behind", []procfs.Mapping{area(low+size, low+size+page)}, low + size + 2*page},
		{"gap too small", []procfs.Mapping{area(low, low+page), area(low+2*page, low+3*page)}, low + 4*page},
		{"all taken", []procfs.Mapping{area(low, 0xf000_0000)}, 0},
	} {
		got, err := freeArea(c.maps, size)
		if got != c.want || (err == nil) != (c.want != 0) {
			t.Errorf("%s: 0x%x, %v; want 0x%x", c.name, got, err, c.want)
		}
	}
}

func TestSleeps(t *testing.T) {
	r := stopped64(unix.SYS_RESTART_SYSCALL, -516)
	s := NewSleeps()
	s.Note(7, r, time.Hour, 10)
	near := func(d time.Duration) bool { return d > time.Hour-time.Minute && d <= time.Hour }
	other := func(change func(*regs.AMD64)) regs.AMD64 { c := r; change(&c); return c }
	for _, c := range []struct {
		name      string
		tid       int
		regs      regs.AMD64
		voluntary uint64
		known     bool
	}{
		{"the same", 7, r, 10, true},
		{"stopped once more", 7, r, 12, true},
		{"woken in between", 7, r, 13, false},
		{"another thread", 8, r, 10, false},
		{"another place", 7, other(func(r *regs.AMD64) { r.Rip++ }), 10, false},
		{"another stack", 7, other(func(r *regs.AMD64) { r.Rsp++ }), 10, false},
		{"another argument", 7, other(func(r *regs.AMD64) { r.Rdi++ }), 10, false},
	} {
		if got := s.left(c.tid, c.regs, c.voluntary); near(got) != c.known || (!c.known && got >= 0) {
			t.Errorf("%s: %v, want known=%v", c.name, got, c.known)
		}
	}
	s.Note(7, r, -time.Second, 10)
	if got := s.left(7, r, 10); got != 0 {
		t.Errorf("overdue: %v, want 0", got)
	}
	var none *Sleeps
	none.Note(7, r, time.Hour, 10)
	if got := none.left(7, r, 10); got >= 0 {
		t.Errorf("no memory knows of %v", got)
	}
}

// hostVDSO returns this process's vdso.
func hostVDSO(t testing.TB) []byte {
	t.Helper()
	maps, err := procfs.ReadMaps(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range maps {
		if m.Path != "[vdso]" {
			continue
		}
		mem, err := OpenMemory(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		defer mem.Close()
		image := make([]byte, m.End-m.Start)
		if err := mem.Read(m.Start, image); err != nil {
			t.Fatal(err)
		}
		return image
	}
	t.Skip("no vdso")
	return nil
}

// TestELFEnd: what the kernel left unused behind its vdso is all zero.
func TestELFEnd(t *testing.T) {
	image := hostVDSO(t)
	end, err := elfEnd(image)
	if err != nil {
		t.Fatal(err)
	}
	if rest := bytes.Trim(image[end:], "\x00"); len(rest) > 0 {
		t.Errorf("something lies behind 0x%x of 0x%x bytes", end, len(image))
	}
	if used := len(bytes.TrimRight(image, "\x00")); uint64(used) > end || end-uint64(used) > 64 {
		t.Errorf("the image ends at 0x%x, its last byte that is not zero lies before 0x%x", end, used)
	}
	if _, err := elfEnd(image[:end-1]); err == nil {
		t.Error("an image that was cut off is taken")
	}
	wild := bytes.Clone(image)
	binary.LittleEndian.PutUint64(wild[0x28:], ^uint64(0)-63) // e_shoff: its end wraps around
	wild[0x3c], wild[0x3d] = 1, 0                             // e_shnum
	if end, err := elfEnd(wild); err == nil {
		t.Errorf("a table at the end of all addresses is taken, and ends at 0x%x", end)
	}
	for _, text := range []string{"", "\x7fELF", strings.Repeat("x", 4096)} {
		if _, err := elfEnd([]byte(text)); err == nil {
			t.Errorf("%.10q is taken for an ELF image", text)
		}
	}
}

func FuzzELFEnd(f *testing.F) {
	image := hostVDSO(f)
	f.Add(image)
	f.Add(image[:512])
	huge := bytes.Clone(image)
	binary.LittleEndian.PutUint64(huge[0x28:], ^uint64(0)-7) // e_shoff
	f.Add(huge)
	small := bytes.Clone(image)
	small[elf.EI_CLASS] = byte(elf.ELFCLASS32)
	f.Add(small)
	f.Fuzz(func(t *testing.T, data []byte) {
		if end, err := elfEnd(data); err == nil && end > uint64(len(data)) {
			t.Errorf("0x%x of 0x%x bytes", end, len(data))
		}
	})
}
