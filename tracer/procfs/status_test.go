package procfs

import (
	"os"
	"strings"
	"testing"
)

func TestStatus(t *testing.T) {
	got := must[Status](t)(parseStatus(fixture(t, "status")))
	equal(t, got, Status{Name: "a) R (b\n\\", State: "R (running)", Tgid: 5114, Pid: 5114, PPid: 5105,
		NStgid: []int{5114}, NSpid: []int{5114}, Threads: 1, SigIgn: 1 << 28,
		CapPrm: 0x1fffeffffff, CapEff: 0x1fffeffffff, CapBnd: 0x1fffeffffff, Umask: 0o022,
		VoluntarySwitches: 5, NonvoluntarySwitches: 2})
}

func TestStatusFields(t *testing.T) {
	text := "Name:\t\ttab\\\\n\\n \nUmask:\t0027\nState:\tT (stopped)\nTgid:\t1\nNgid:\t0\nPid:\t2\nPPid:\t3\n" +
		"TracerPid:\t4\nUid:\t5\t6\t7\t4294967295\nGid:\t9\t10\t11\t12\nFDSize:\t64\nGroups:\t4 20 1001 \n" +
		"NStgid:\t1\t100\nNSpid:\t2\t101\nThreads:\t13\nSigQ:\t0/1\nSigPnd:\t8000000000000000\n" +
		"ShdPnd:\t0000000000000002\nSigBlk:\t0000000000000003\nSigIgn:\t0000000000000004\nSigCgt:\t0000000000000005\n" +
		"CapInh:\t0000000000000006\nCapPrm:\t0000000000000007\nCapEff:\t0000000000000008\nCapBnd:\t0000000000000009\n" +
		"CapAmb:\t000000000000000a\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t3\nvoluntary_ctxt_switches:\t14\n" +
		"nonvoluntary_ctxt_switches:\t18446744073709551615\nx86_Thread_features:\tshstk wrss \n" +
		"x86_Thread_features_locked:\tshstk \nCoreDumping:\t1\nKthread:\t1\nSome_new_key:\t?\n"
	equal(t, must[Status](t)(parseStatus([]byte(text))), Status{Name: "\ttab\\n\n ", Umask: 0o27, State: "T (stopped)",
		Tgid: 1, Pid: 2, PPid: 3, TracerPid: 4, UIDs: [4]int{5, 6, 7, 4294967295}, GIDs: [4]int{9, 10, 11, 12},
		Groups: []int{4, 20, 1001}, NStgid: []int{1, 100}, NSpid: []int{2, 101}, Threads: 13,
		SigPnd: 1 << 63, ShdPnd: 2, SigBlk: 3, SigIgn: 4, SigCgt: 5, CapInh: 6, CapPrm: 7, CapEff: 8, CapBnd: 9,
		CapAmb: 10, NoNewPrivs: 1, Seccomp: 2, SeccompFilters: 3, VoluntarySwitches: 14,
		NonvoluntarySwitches: 1<<64 - 1, ThreadFeatures: "shstk wrss", CoreDumping: true, Kthread: true})
}

func TestStatusRefuses(t *testing.T) {
	good := string(fixture(t, "status"))
	refuses(t, parseStatus, map[string]int{
		"":           0,
		"Name:\tx\n": 0,
		"no colon\n": 1,
		":\n":        1,
		good + "\n":  strings.Count(good, "\n") + 1,
		strings.Replace(good, "Tgid:\t5114", "Tgid:\t5114x", 1):             4,
		strings.Replace(good, "Tgid:\t5114", "Tgid:\t-5", 1):                4,
		strings.Replace(good, "Uid:\t0\t0\t0\t0", "Uid:\t0\t0\t0", 1):       9,
		strings.Replace(good, "Uid:\t0\t0\t0\t0", "Uid:\t0\t0\t0\t-1", 1):   9,
		strings.Replace(good, "Gid:\t0\t0\t0\t0", "Gid:\t0\t0\t0\t0\t0", 1): 10,
		strings.Replace(good, "Umask:\t0022", "Umask:\t0092", 1):            2,
		strings.Replace(good, "Pid:\t5114\nPPid", "Fid:\t5114\nPPid", 1):    0,
		strings.Replace(good, "SigIgn:\t0000000010000000", "SigIgn:\tx", 1): 42,
		strings.Replace(good, "Kthread:\t0", "Kthread:\t2", 1):              17,
	})
}

func FuzzStatus(f *testing.F) {
	fuzz(f, parseStatus, string(fixture(f, "status")), "Tgid:\t1\nPid:\t1\nUid:\t0 0 0 0\nGid:\t0 0 0 0\n")
}

// TestStatusAll reads every process there is: kernel threads, zombies, all of them.
func TestStatusAll(t *testing.T) {
	pids := must[[]int](t)(Processes())
	seen := 0
	for _, pid := range pids {
		for _, read := range []func() error{
			func() error { _, err := ReadStat(pid); return err },
			func() error { _, err := ReadStatus(pid); return err },
			func() error { _, err := ReadSched(pid, pid); return err },
			func() error { _, err := ReadTimers(pid); return err },
			func() error { _, err := ReadMaps(pid); return err },
			func() error { _, err := Cmdline(pid); return err },
			func() error { _, err := ReadAuxv(pid); return err },
			func() error { _, err := Children(pid); return err },
		} {
			if err := read(); err != nil && !Gone(err) && !os.IsPermission(err) {
				t.Errorf("process %d: %v", pid, err)
			}
		}
		seen++
	}
	if seen < 2 {
		t.Errorf("only %d processes", seen)
	}
}

func BenchmarkStatus(b *testing.B) {
	data := fixture(b, "status")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parseStatus(data); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkReadTask is what one thread of a survey costs, system calls included.
func BenchmarkReadTask(b *testing.B) {
	pid := os.Getpid()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ReadTaskStat(pid, pid); err != nil {
			b.Fatal(err)
		}
		if _, err := ReadTaskStatus(pid, pid); err != nil {
			b.Fatal(err)
		}
	}
}
