package procfs

import (
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func TestLocks(t *testing.T) {
	disk := mkdev(0xfe, 0)
	lock := func(id int64, class, mode, kind string, pid int, ino uint64, start, end int64) Lock {
		return Lock{ID: id, Class: class, Mode: mode, Type: kind, PID: pid, Dev: disk, Ino: ino, Start: start, End: end}
	}
	waits := func(l Lock) Lock { l.Blocked = true; return l }
	breaker := waits(lock(1, "LEASE", "BREAKER", "READ", 5117, 0, 0, -1))
	breaker.Dev = 0
	equal(t, must[[]Lock](t)(parseLocks(fixture(t, "locks"))), []Lock{
		lock(1, "LEASE", "BREAKING", "READ", 5114, 9978065, 0, -1),
		breaker,
		lock(2, "OFDLCK", "ADVISORY", "WRITE", -1, 9978049, 50, 50),
		lock(3, "POSIX", "ADVISORY", "READ", 5114, 9978049, 100, -1),
		lock(4, "POSIX", "ADVISORY", "WRITE", 5114, 9978049, 2, 6),
		waits(lock(4, "POSIX", "ADVISORY", "WRITE", 5116, 9978049, 3, 3)),
		lock(5, "FLOCK", "ADVISORY", "READ", 5114, 9978049, 0, -1),
		waits(lock(5, "FLOCK", "ADVISORY", "WRITE", 5118, 9978049, 0, -1)),
	})
}

func TestLocksOther(t *testing.T) {
	text := "1: POSIX  MANDATORY WRITE 1 08:01:2 0 9223372036854775807\n" +
		"12:    -> DELEG  BREAKER   READ 0 103:a0003:18446744073709551615 0 EOF\n" +
		"3: ACCESS *NOINODE* UNLCK 9 <none>:0 1 EOF\n"
	equal(t, must[[]Lock](t)(parseLocks([]byte(text))), []Lock{
		{ID: 1, Class: "POSIX", Mode: "MANDATORY", Mandatory: true, Type: "WRITE", PID: 1, Dev: mkdev(8, 1), Ino: 2, End: 1<<63 - 1},
		{ID: 12, Class: "DELEG", Mode: "BREAKER", Type: "READ", Dev: mkdev(0x103, 0xa0003), Ino: 1<<64 - 1, End: -1, Blocked: true},
		{ID: 3, Class: "ACCESS", Mode: "*NOINODE*", Type: "UNLCK", PID: 9, Start: 1, End: -1},
	})
	refuses(t, parseLocks, map[string]int{
		"\n":                                     1,
		"1: ":                                    1,
		"1 POSIX ADVISORY READ 1 08:01:2 0 EOF":  1,
		"0: POSIX ADVISORY READ 1 08:01:2 0 EOF": 1,
		"1: POSIX ADVISORY READ 1 08:01:2 0 EOF\n2: POSIX ADVISORY READ 1 08:01:2 0": 2,
		"1: POSIX ADVISORY READ 1 08:01:2 0 EOF 7":                                   1,
		"1: posix ADVISORY READ 1 08:01:2 0 EOF":                                     1,
		"1: POSIX ADVISORY 12 1 08:01:2 0 EOF":                                       1,
		"1: POSIX ADVISORY READ x 08:01:2 0 EOF":                                     1,
		"1: POSIX ADVISORY READ 1 08:01 0 EOF":                                       1,
		"1: POSIX ADVISORY READ 1 2 0 EOF":                                           1,
		"1: POSIX ADVISORY READ 1 08:01:x 0 EOF":                                     1,
		"1: POSIX ADVISORY READ 1 08:01:2 -1 EOF":                                    1,
		"1: POSIX ADVISORY READ 1 08:01:2 5 4":                                       1,
		"1: POSIX ADVISORY READ 1 08:01:2 5 EOFF":                                    1,
		"1: -> -> POSIX ADVISORY READ 1 08:01:2 5 EOF":                               1,
	})
}

func FuzzLocks(f *testing.F) {
	fuzz(f, parseLocks, string(fixture(f, "locks")), "1: -> LEASE  BREAKER   READ 5117 <none>:0 0 EOF\n")
}

// TestLocksLive takes one lock of each class and finds it in both places.
func TestLocksLive(t *testing.T) {
	f := must[*os.File](t)(os.CreateTemp(t.TempDir(), ""))
	defer f.Close()
	fd := int(f.Fd())
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		t.Fatal(err)
	}
	posix := unix.Flock_t{Type: unix.F_WRLCK, Start: 10, Len: 5}
	ofd := unix.Flock_t{Type: unix.F_WRLCK, Start: 1 << 40}
	for _, err := range []error{
		unix.Flock(fd, unix.LOCK_EX),
		unix.FcntlFlock(f.Fd(), unix.F_SETLK, &posix),
		unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &ofd),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	pid := os.Getpid()
	want := []Lock{
		{Class: "FLOCK", Mode: "ADVISORY", Type: "WRITE", PID: pid, Dev: st.Dev, Ino: st.Ino, End: -1},
		{Class: "OFDLCK", Mode: "ADVISORY", Type: "WRITE", PID: -1, Dev: st.Dev, Ino: st.Ino, Start: 1 << 40, End: -1},
		{Class: "POSIX", Mode: "ADVISORY", Type: "WRITE", PID: pid, Dev: st.Dev, Ino: st.Ino, Start: 10, End: 14},
	}
	mine := func(all []Lock) (out []Lock) {
		for _, l := range all {
			if l.Ino == st.Ino && l.Dev == st.Dev {
				l.ID = 0
				out = append(out, l)
			}
		}
		slices.SortFunc(out, func(a, b Lock) int { return int(a.Class[0]) - int(b.Class[0]) })
		return out
	}
	equal(t, mine(must[[]Lock](t)(ReadLocks())), want)
	equal(t, mine(must[FDInfo](t)(ReadFDInfo(pid, fd)).Locks), want)
}
