package procfs

import (
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestStat(t *testing.T) {
	got := must[Stat](t)(parseStat(fixture(t, "stat")))
	equal(t, got, Stat{PID: 5114, Comm: "a) R (b\n\\", State: 'R', PPID: 5105, PGID: 5105, SID: 2962, TPGID: -1,
		Flags: 4194560, MinFault: 126, ChildMinFault: 76, Priority: 20, Threads: 1, StartTime: 130162,
		VSize: 8796095655936, RSS: 332, StartCode: 94267307622400, EndCode: 94267307626237,
		StartStack: 140730766370688, ExitSignal: 17, Processor: 1, StartData: 94267307634128,
		EndData: 94267307635056, StartBrk: 94268191035392, ArgStart: 140730766371547,
		ArgEnd: 140730766371552, EnvStart: 140730766371552, EnvEnd: 140730766372851})
}

// TestStatFields gives each field its own number and looks where it arrives.
func TestStatFields(t *testing.T) {
	got := must[Stat](t)(parseStat([]byte("1 (x) S 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 " +
		"28 29 30 31 32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54\n")))
	equal(t, got, Stat{PID: 1, Comm: "x", State: 'S', PPID: 4, PGID: 5, SID: 6, TTY: 7, TPGID: 8, Flags: 9,
		MinFault: 10, ChildMinFault: 11, MajFault: 12, ChildMajFault: 13, UTime: 14, STime: 15,
		ChildUTime: 16, ChildSTime: 17, Priority: 18, Nice: 19, Threads: 20, StartTime: 22, VSize: 23,
		RSS: 24, StartCode: 26, EndCode: 27, StartStack: 28, ExitSignal: 38, Processor: 39,
		RTPriority: 40, Policy: 41, StartData: 45, EndData: 46, StartBrk: 47, ArgStart: 48, ArgEnd: 49,
		EnvStart: 50, EnvEnd: 51, ExitCode: 52})
}

func TestStatNames(t *testing.T) {
	_, rest, _ := strings.Cut(string(fixture(t, "stat")), "\\)")
	for _, name := range []string{"", ")", "(", ") S 1 (", "\n\n", "a\n) R 1 1 1", "))))", "\xff\x00\x01"} {
		if got := must[Stat](t)(parseStat([]byte("7 (" + name + ")" + rest))); got.Comm != name || got.PPID != 5105 {
			t.Errorf("name %q: %+v", name, got)
		}
	}
}

func TestStatRefuses(t *testing.T) {
	good := string(fixture(t, "stat"))
	refuses(t, parseStat, map[string]int{
		"":                 1,
		"1 x S 1":          1,
		")1 (":             1,
		"x (y) S 1":        1,
		"1 (x)":            1,
		"1 (x) SS 1 2 3":   1,
		"1 (x) S 1 2 3":    1,
		"1 (x\ny) S 1 2 3": 2,
		good + "2 rest":    2,
		strings.Replace(good, "4194560", "-1", 1):                        2,
		strings.Replace(good, "5105", "99999999999999999999", 1):         2,
		strings.Replace(good, "140730766372851 0", "140730766372851", 1): 2,
		strings.Replace(good, "94267307622400", "0x94267307622400", 1):   2,
	})
}

func FuzzStat(f *testing.F) {
	fuzz(f, parseStat, string(fixture(f, "stat")), "1 (x) S 1", "1 ()) S -1 -1")
}

func TestStatLive(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	name := "x) R (\n\\"
	old := must[string](t)(ReadComm(os.Getpid(), unix.Gettid()))
	setComm(t, name)
	defer setComm(t, old)
	pid, tid := os.Getpid(), unix.Gettid()
	stat := must[Stat](t)(ReadTaskStat(pid, tid))
	status := must[Status](t)(ReadTaskStatus(pid, tid))
	comm := must[string](t)(ReadComm(pid, tid))
	equal(t, []string{stat.Comm, status.Name, comm}, []string{name, name, name})
	equal(t, []int{stat.PID, status.Pid, status.Tgid, stat.PPID, status.PPid, stat.PGID},
		[]int{tid, tid, pid, os.Getppid(), os.Getppid(), unix.Getpgrp()})
	equal(t, []int{status.UIDs[1], status.GIDs[1]}, []int{os.Geteuid(), os.Getegid()})
	equal(t, []int{stat.Threads}, []int{status.Threads})
	must[Sched](t)(ReadSched(pid, tid)) // its header holds the name
}

func setComm(t *testing.T, name string) {
	t.Helper()
	if err := os.WriteFile("/proc/thread-self/comm", []byte(name), 0); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkStat(b *testing.B) {
	data := fixture(b, "stat")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parseStat(data); err != nil {
			b.Fatal(err)
		}
	}
}
