package tracer

import (
	"testing"

	"github.com/crtrace/crtrace/regs"
	"golang.org/x/sys/unix"
)

// TestOriginalCall: a call that goes on as restart_syscall is told by its arguments.
func TestOriginalCall(t *testing.T) {
	const (
		private    = 128
		waitBitset = 9
	)
	mem := ownMemory(t)
	time := pinned(t, 3, 500_000_000)
	narrow := pinned(t, 3|500_000_000<<32, -1)
	word := pinned(t, -1, -1) // no struct timespec
	array := pinned(t, 7|1<<32, 8|1<<32)
	with := func(r regs.AMD64, values ...uint64) regs.AMD64 {
		for i, at := range args(&r) {
			*at = 0xdead // not there
			if i < len(values) {
				*at = values[i]
			}
		}
		return r
	}
	long, short := stopped64(unix.SYS_RESTART_SYSCALL, -516), stopped32(0, -516)
	for _, c := range []struct {
		name  string
		regs  regs.AMD64
		wchan string
		want  int
	}{
		{"nanosleep", with(long, time, 0), "0", unix.SYS_NANOSLEEP},
		{"nanosleep with a rest", with(long, time, word), "", unix.SYS_NANOSLEEP},
		{"clock_nanosleep", with(long, 1, 0, time, 0), "0", unix.SYS_CLOCK_NANOSLEEP},
		{"clock_nanosleep of clock 0", with(long, 0, 0, time, 0), "0", unix.SYS_CLOCK_NANOSLEEP},
		{"poll of nothing", with(long, 0, 0, 1500), "0", unix.SYS_POLL},
		{"poll", with(long, array, 2, 1500), "0", unix.SYS_POLL},
		{"futex", with(long, word, private, 0, time), "0", unix.SYS_FUTEX},
		{"shared futex", with(long, word, 0, 0, time), "0", unix.SYS_FUTEX},
		{"futex to a time", with(long, word, private|waitBitset, 0, time), "0", unix.SYS_FUTEX},
		{"the kernel tells of poll", with(long, time, 1, 1500), "poll_schedule_timeout.constprop.0", unix.SYS_POLL},
		{"the kernel tells of futex", with(long, time, 0, 0, time), "futex_wait_queue", unix.SYS_FUTEX},
		{"32: nanosleep", with(short, narrow, 0), "0", 162},
		{"32: clock_nanosleep", with(short, 0, 0, narrow, 0), "0", 267},
		{"32: clock_nanosleep_time64", with(short, 1, 0, time, 0), "0", 407},
		{"32: poll of nothing", with(short, 0, 0, 1500), "0", 168},
		{"32: poll", with(short, array, 2, 1500), "0", 168},
		{"32: futex", with(short, word, private, 0, narrow), "0", 240},
		{"32: futex_time64", with(short, word, private|waitBitset, 0, time), "0", 422},
	} {
		if got, ok := originalCall(&c.regs, mem, c.wchan); !ok || got != c.want {
			t.Errorf("%s: %d, %v; want %d", c.name, got, ok, c.want)
		}
	}
}
