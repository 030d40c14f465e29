package procfs

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

func TestSched(t *testing.T) {
	got := must[Sched](t)(parseSched(fixture(t, "sched")))
	equal(t, got, Sched{ExecStart: 1301797901772, Switches: 7, Voluntary: 5, Runtime: 3238232})
	const rule = "\n-------------------------------------------------------------------\n"
	refuses(t, parseSched, map[string]int{
		"":                   0,
		"x (1, #threads: 1)": 0,
		"x (1, #threads: 1)" + rule + "nr_switches : 1\n":                       0,
		"x\n-----\ny (1, #threads: 1)" + rule + "se.exec_start : 1.5\n":         5,
		"x (1, #threads: 1)" + rule + "se.exec_start : -1.500000\n":             3,
		"x (1, #threads: 1)" + rule + "se.exec_start : 99999999999999.000000\n": 3,
		"x (1, #threads: 1)" + rule + "nr_switches : \n":                        3,
	})
	// A name cannot pass for a line of its own.
	evil := "\nnr_switches:9 (1, #threads: 1)" + rule + "se.exec_start : 1.000002\nse.sum_exec_runtime : 0.000007\nnr_switches : 3\nnr_voluntary_switches : 2\n"
	equal(t, must[Sched](t)(parseSched([]byte(evil))), Sched{ExecStart: 1000002, Switches: 3, Voluntary: 2, Runtime: 7})
}

func TestSyscall(t *testing.T) {
	cases := map[string]Syscall{
		string(fixture(t, "syscall")): {NR: 0, Args: [6]uint64{0x15, 0x7ffe6f55a400, 0x10000, 0, 0x7f2d312554e0, 0x73},
			SP: 0x7ffe6f55a3f8, PC: 0x7f2d311b22ad},
		"running\n":      {Running: true},
		"-1 0x10 0x20\n": {NR: -1, SP: 0x10, PC: 0x20},
	}
	for text, want := range cases {
		equal(t, must[Syscall](t)(parseSyscall([]byte(text))), want)
	}
	refuses(t, parseSyscall, map[string]int{
		"": 1, "-2 0x1 0x2": 1, "-1 0x1": 1, "-1 0x1 2": 1, "-1 0x1 0x2 0x3": 1, "7 0x1 0x2": 1, "running\nx": 2,
	})
}

func TestSmallFiles(t *testing.T) {
	refuses(t, hexFile, map[string]int{"": 1, "x\n": 1, "1\n2\n": 1})
	refuses(t, intFile, map[string]int{"": 1, "1.5\n": 1})
	refuses(t, commFile, map[string]int{"": 1, "x": 1})
	refuses(t, parseLoadAvg, map[string]int{"": 1, "1 2 3 4 x\n": 1, "1 2 3 4": 1, "0 0 0 1/1 -1": 1})
	refuses(t, parseChildren, map[string]int{"1 x": 1, "1 2\n3": 2})
	equal(t, must[int](t)(parseLoadAvg([]byte("0.08 0.05 0.01 1/85 5042\n"))), 5042)
	equal(t, must[string](t)(commFile(fixture(t, "comm"))), "a) R (b\n\\")
	equal(t, must[int](t)(intFile([]byte("-1000\n"))), -1000)
	equal(t, must[uint64](t)(hexFile([]byte("00000033\n"))), uint64(0x33))
	for text, want := range map[string][]string{
		"": nil, "a\x00": {"a"}, "a\x00\x00b\x00": {"a", "", "b"}, "title": {"title"}, "\x00": {""},
	} {
		equal(t, must[[]string](t)(parseCmdline([]byte(text))), want)
	}
}

// FuzzSmall feeds the parsers of the short files.
func FuzzSmall(f *testing.F) {
	fuzz(f, func(b []byte) (int, error) {
		_, err1 := parseSched(b)
		_, err2 := parseSyscall(b)
		_, err3 := parseLoadAvg(b)
		_, err4 := parseChildren(b)
		_, err5 := parseCmdline(b)
		return 0, errors.Join(err1, err2, err3, err4, err5)
	}, string(fixture(f, "sched")), string(fixture(f, "syscall")), "0.08 0.05 0.01 1/85 5042\n", "1 2 3 ")
}

func TestGone(t *testing.T) {
	const none = 1 << 30 // above the largest pid
	for _, err := range []error{
		second(ReadMaps(none)), second(ReadStat(none)), second(Tasks(none)), second(Children(none)),
		second(FDs(none)), second(OpenPagemap(none)), second(ReadSched(none, none)), second(ReadComm(none, none)),
	} {
		if !Gone(err) {
			t.Errorf("%v", err)
		}
	}
	if _, _, err := Exe(none); !Gone(err) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if Gone(nil) || Gone(fs.ErrPermission) {
		t.Error("not everything is gone")
	}
}

func second[T any](_ T, err error) error { return err }

func TestErrorsNameTheFile(t *testing.T) {
	_, err := read("/proc/self/comm", hexFile)
	var bad *ParseError
	if !errors.As(err, &bad) || !bytes.Contains([]byte(err.Error()), []byte("/proc/self/comm: line 1 ")) {
		t.Errorf("%v", err)
	}
	long := badLine(1, bytes.Repeat([]byte{'x'}, 1000), "too long")
	if len(long.Error()) > 200 {
		t.Errorf("%v", long)
	}
	if second(read(t.TempDir(), hexFile)) == nil {
		t.Error("read a directory")
	}
}

func TestStatPath(t *testing.T) {
	for path, want := range map[string]string{
		"/proc/1/fd":             "/proc/1/stat",
		"/proc/1/task":           "/proc/1/stat",
		"/proc/1/fdinfo/7":       "/proc/1/stat",
		"/proc/1/task/2/syscall": "/proc/1/task/2/stat",
		"/proc/locks":            "",
		"/proc":                  "",
	} {
		if got, ok := statPath(path); got != want || ok != (want != "") {
			t.Errorf("%s: %q, %v", path, got, ok)
		}
	}
}

func TestUnlessEnded(t *testing.T) {
	denied := &fs.PathError{Op: "open", Err: fs.ErrPermission}
	if err := unlessEnded("/proc/self/fd", denied); !errors.Is(err, denied) {
		t.Errorf("a living process: %v", err)
	}
	if err := unlessEnded("/proc/1073741824/fd", denied); !Gone(err) {
		t.Errorf("no process: %v", err)
	}
	if err := unlessEnded("/proc/locks", denied); !errors.Is(err, denied) {
		t.Errorf("no process at all: %v", err)
	}
}

func TestNumbersOfDirectory(t *testing.T) {
	dir := t.TempDir()
	var want []int
	for n := range 50 {
		want = append(want, n)
		must[*os.File](t)(os.Create(filepath.Join(dir, strconv.Itoa(n)))).Close()
	}
	for _, name := range []string{"x", "-1", "1x", "99999999999999999999999", "9223372036854775808"} {
		must[*os.File](t)(os.Create(filepath.Join(dir, name))).Close()
	}
	equal(t, must[[]int](t)(numbers(dir)), want)
}
