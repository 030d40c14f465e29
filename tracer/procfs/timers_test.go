package procfs

import (
	"os"
	"runtime"
	"slices"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func TestTimers(t *testing.T) {
	equal(t, must[[]Timer](t)(parseTimers(fixture(t, "timers"))), []Timer{
		{ID: 0, Signal: 12, Sigval: 0xdeadbeefcafebabe, Clock: 1},
		{ID: 1, Notify: 1},
		{ID: 2, Signal: 34, ThreadID: 5114, Clock: -6},
		{ID: 3, Signal: 14, Clock: -2},
	})
	if got := must[[]Timer](t)(parseTimers(nil)); len(got) != 0 {
		t.Errorf("no timers: %+v", got)
	}
}

func TestTimersRefuses(t *testing.T) {
	refuses(t, parseTimers, map[string]int{
		"\n":            1,
		"ID: 1":         1,
		"ID: -1\n":      1,
		"signal: 1/0\n": 1,
		"ID: 1\nsignal: 1\nnotify: signal/pid.1\nClockID: 0\n":            2,
		"ID: 1\nsignal: -1/0\nnotify: signal/pid.1\nClockID: 0\n":         2,
		"ID: 1\nsignal: 1/0\nnotify: other/pid.1\nClockID: 0\n":           3,
		"ID: 1\nsignal: 1/0\nnotify: signal/gid.1\nClockID: 0\n":          3,
		"ID: 1\nsignal: 1/0\nnotify: signal/tid.x\nClockID: 0\n":          3,
		"ID: 1\nsignal: 1/0\nnotify: signal/tid.1\n":                      3,
		"ID: 1\nsignal: 1/0\nnotify: signal/tid.1\nClockID: x\n":          4,
		"ID: 1\nsignal: 1/0\nnotify: signal/tid.1\nClockID: 0\nsignal: 1": 5,
	})
}

func FuzzTimers(f *testing.F) {
	fuzz(f, parseTimers, string(fixture(f, "timers")), "ID: 0\nsignal: 1/0\nnotify: thread/tid.5\nClockID: -22\n")
}

// sigevent is struct sigevent.
type sigevent struct {
	value       uint64
	signo       int32
	notify, tid int32
	_           [11]int32
}

func TestTimersLive(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	tid := int32(unix.Gettid())
	var want []Timer
	for _, c := range []struct {
		clock int
		event sigevent
	}{
		{unix.CLOCK_REALTIME, sigevent{value: 1<<64 - 1, signo: 10}},
		{unix.CLOCK_BOOTTIME, sigevent{notify: 1}},
		{unix.CLOCK_MONOTONIC, sigevent{value: 5, signo: 64, notify: 4, tid: tid}},
	} {
		var id int32
		if _, _, errno := unix.Syscall(unix.SYS_TIMER_CREATE, uintptr(c.clock),
			uintptr(unsafe.Pointer(&c.event)), uintptr(unsafe.Pointer(&id))); errno != 0 {
			t.Fatal(errno)
		}
		defer unix.Syscall(unix.SYS_TIMER_DELETE, uintptr(id), 0, 0)
		want = append(want, Timer{ID: int(id), Signal: int(c.event.signo), Sigval: c.event.value,
			Notify: int(c.event.notify &^ 4), ThreadID: int(c.event.tid), Clock: c.clock})
	}
	got := must[[]Timer](t)(ReadTimers(os.Getpid()))
	got = slices.DeleteFunc(got, func(g Timer) bool { return g.ID < want[0].ID })
	equal(t, got, want)
}
