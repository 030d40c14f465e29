package proc

import (
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseStat(t *testing.T) {
	got, err := parseStat([]byte("42 (a) b (c)) S 7 8 9 34816 8 4194560 1 2\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := &Stat{PID: 42, Comm: "a) b (c)", State: 'S', PPID: 7, PGID: 8, SID: 9, TPGID: 8, Flags: 4194560}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got.Kernel() || got.Stopped() {
		t.Error("neither a kernel thread nor stopped")
	}
	for _, bad := range []string{"", "42", "42 (x", "42 (x) S", "42 (x) S a 8 9 0 8 0", "x (x) S 7 8 9 0 8 0", ")("} {
		if _, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestSelf(t *testing.T) {
	st, err := ReadStat(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if st.PID != os.Getpid() || st.PPID != os.Getppid() {
		t.Errorf("stat of this process: %+v", st)
	}
	uid, err := StatusInt(os.Getpid(), "Uid")
	if err != nil || uid != os.Getuid() {
		t.Errorf("uid %d, %v", uid, err)
	}
	if up := Ancestors(os.Getpid()); !slices.Contains(up, os.Getppid()) {
		t.Errorf("ancestors %v lack the parent %d", up, os.Getppid())
	}
	if _, err := ReadStat(1 << 30); !os.IsNotExist(err) {
		t.Errorf("impossible pid: %v", err)
	}
}

// FuzzStat: the name of a process is free text of its owner.
func FuzzStat(f *testing.F) {
	f.Add([]byte("42 (a) b (c)) S 7 8 9 34816 8 4194560 1 2\n"))
	f.Add([]byte("1 () Z 0 0 0 0 -1 0"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if st, err := parseStat(data); err == nil && st == nil {
			t.Error("neither a result nor an error")
		}
	})
}
