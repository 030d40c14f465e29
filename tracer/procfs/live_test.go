package procfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// sleeper starts a process that does nothing, and ends it with the test.
func sleeper(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sleep", "1000")
	cmd.Dir = t.TempDir()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return cmd
}

func TestProcess(t *testing.T) {
	cmd := sleeper(t)
	pid := cmd.Process.Pid
	exe := must[string](t)(exec.LookPath("sleep"))
	exe = must[string](t)(filepath.EvalSymlinks(exe))
	eventually(t, "the program in its sleep", func() bool {
		s, err := ReadSyscall(pid, pid)
		return err == nil && !s.Running && s.NR == unix.SYS_CLOCK_NANOSLEEP
	})
	path, deleted, err := Exe(pid)
	if err != nil || deleted || filepath.Base(path) != filepath.Base(exe) {
		t.Errorf("Exe: %q %v %v", path, deleted, err)
	}
	path, deleted, err = Cwd(pid)
	if err != nil || deleted || path != cmd.Dir {
		t.Errorf("Cwd: %q %v %v", path, deleted, err)
	}
	if path, deleted, err = Root(pid); err != nil || deleted || path != "/" {
		t.Errorf("Root: %q %v %v", path, deleted, err)
	}
	if up := Ancestors(pid); len(up) == 0 || up[0] != os.Getpid() || len(up) > 1 && up[1] != os.Getppid() {
		t.Errorf("Ancestors: %v, want %d first", up, os.Getpid())
	}
	if st := must[Stat](t)(ReadStat(pid)); st.Stopped() || st.Kernel() {
		t.Errorf("neither stopped nor a thread of the kernel: %+v", st)
	}
	equal(t, must[[]string](t)(Cmdline(pid)), []string{"sleep", "1000"})
	equal(t, must[string](t)(ReadComm(pid, pid)), "sleep")
	equal(t, must[[]int](t)(Tasks(pid)), []int{pid})
	equal(t, must[int](t)(ReadOOMScoreAdj(pid)), must[int](t)(ReadOOMScoreAdj(os.Getpid())))
	equal(t, must[uint64](t)(ReadPersonality(pid)), must[uint64](t)(ReadPersonality(os.Getpid())))
	equal(t, must[uint64](t)(ReadCoredumpFilter(pid)), must[uint64](t)(ReadCoredumpFilter(os.Getpid())))
	if auxv := must[[]byte](t)(ReadAuxv(pid)); len(auxv) < 64 || len(auxv)%16 != 0 {
		t.Errorf("auxv: %d bytes", len(auxv))
	}
	before := must[Sched](t)(ReadSched(pid, pid))
	if before.Switches == 0 || before.ExecStart == 0 || before.Voluntary == 0 {
		t.Errorf("sched: %+v", before)
	}
	equal(t, must[Sched](t)(ReadSched(pid, pid)), before) // it slept all the time
	fds := must[[]FD](t)(FDs(pid))
	if len(fds) < 3 || fds[0] != (FD{0, "/dev/null"}) || !slices.IsSortedFunc(fds, func(a, b FD) int { return a.Num - b.Num }) {
		t.Errorf("FDs: %v", fds)
	}
}

// TestDeletedLinks tells a removed directory from one with a misleading name.
func TestDeletedLinks(t *testing.T) {
	for _, removed := range []bool{false, true} {
		dir := t.TempDir() + "/x (deleted)"
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("sleep", "1000")
		cmd.Dir = dir
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { cmd.Process.Kill(); cmd.Wait() }()
		if removed {
			if err := os.Remove(dir); err != nil {
				t.Fatal(err)
			}
		}
		path, deleted, err := Cwd(cmd.Process.Pid)
		if err != nil || path != dir || deleted != removed {
			t.Errorf("removed %v: %q, %v, %v", removed, path, deleted, err)
		}
	}
}

func TestChildren(t *testing.T) {
	self := os.Getpid()
	ids := func(kids []Child, err error) []int {
		var out []int
		for _, kid := range must[[]Child](t)(kids, err) {
			out = append(out, kid.PID)
		}
		return out
	}
	want := append(ids(Children(self)), sleeper(t).Process.Pid, sleeper(t).Process.Pid, sleeper(t).Process.Pid)
	slices.Sort(want)
	equal(t, ids(Children(self)), want)
	equal(t, ids(scanChildren(self)), want)
	all := must[[]int](t)(Processes())
	for _, pid := range append(want, self) {
		if _, found := slices.BinarySearch(all, pid); !found {
			t.Errorf("process %d is missing from %v", pid, all)
		}
	}
}

// TestTree lists a shell with two children, of which one has ended, and an
// orphan that came to this process.
func TestTree(t *testing.T) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	defer unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
	cmd := exec.Command("/bin/sh", "-c", `(sleep 1000 & echo $!); sleep 1000 & echo $!; true & echo $!; exec sleep 1000`)
	out := must[io.ReadCloser](t)(cmd.StdoutPipe())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var orphan, child, ended int
	if _, err := fmt.Fscan(out, &orphan, &child, &ended); err != nil {
		t.Fatal(err)
	}
	defer func() {
		for _, pid := range []int{cmd.Process.Pid, child, orphan} {
			_ = unix.Kill(pid, unix.SIGKILL) // they are ours
		}
		_ = cmd.Wait()
		_, _ = unix.Wait4(orphan, nil, 0, nil)
		_, _ = unix.Wait4(child, nil, 0, nil)
	}()
	root := cmd.Process.Pid
	var have []Member
	for len(have) != 4 || !have[3].Zombie() {
		have = slices.DeleteFunc(must[[]Member](t)(Tree(root, os.Getpid())), func(m Member) bool {
			return m.Orphan && m.PID != orphan // what other tests have left
		})
		slices.SortStableFunc(have, func(a, b Member) int { return b2i(a.Zombie()) - b2i(b.Zombie()) })
	}
	for i, want := range []Member{
		{Stat: Stat{PID: root, PPID: os.Getpid()}},
		{Stat: Stat{PID: orphan, PPID: os.Getpid()}, Orphan: true, ParentTID: have[1].ParentTID},
		{Stat: Stat{PID: child, PPID: root}, ParentTID: root},
		{Stat: Stat{PID: ended, PPID: root}, ParentTID: root},
	} {
		m := have[i]
		equal(t, Member{Stat: Stat{PID: m.PID, PPID: m.PPID}, Orphan: m.Orphan, ParentTID: m.ParentTID}, want)
	}
	equal(t, len(must[[]Member](t)(Tree(ended, 0))), 1)
	equal(t, len(must[[]Member](t)(Tree(1<<22, 0))), 0)
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestTasks(t *testing.T) {
	stop := make(chan struct{})
	tids := make(chan int)
	for range 20 {
		go func() {
			runtime.LockOSThread()
			tids <- unix.Gettid()
			<-stop
		}()
	}
	var mine []int
	for range 20 {
		mine = append(mine, <-tids)
	}
	defer close(stop)
	got := must[[]int](t)(Tasks(os.Getpid()))
	if !slices.IsSorted(got) {
		t.Errorf("not ascending: %v", got)
	}
	for _, tid := range mine {
		if !slices.Contains(got, tid) {
			t.Errorf("thread %d is missing from %v", tid, got)
		}
	}
}

// TestEnded reads a process as a zombie and after that.
func TestEnded(t *testing.T) {
	cmd := sleeper(t)
	pid := cmd.Process.Pid
	pagemap := must[*Pagemap](t)(OpenPagemap(pid))
	defer pagemap.Close()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a zombie", func() bool { return must[Stat](t)(ReadStat(pid)).State == 'Z' })
	status := must[Status](t)(ReadStatus(pid))
	if status.State != "Z (zombie)" || status.Pid != pid {
		t.Errorf("%+v", status)
	}
	if stat := must[Stat](t)(ReadStat(pid)); stat.ExitCode != int(syscall.SIGKILL) {
		t.Errorf("exit code %#x", stat.ExitCode)
	}
	if maps, err := ReadMaps(pid); len(maps) != 0 || err != nil && !Gone(err) {
		t.Errorf("maps of a zombie: %v, %v", maps, err)
	}
	if _, err := OpenPagemap(pid); !Gone(err) {
		t.Errorf("page map of a zombie: %v", err)
	}
	if _, err := pagemap.Present(0, 1<<46, Populated, nil); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("scan of a zombie: %v", err)
	}
	if _, _, err := Exe(pid); !Gone(err) {
		t.Errorf("exe of a zombie: %v", err)
	}
	if fds, err := FDs(pid); len(fds) != 0 || err != nil && !Gone(err) {
		t.Errorf("descriptors of a zombie: %v, %v", fds, err)
	}
	cmd.Wait()
	for name, err := range map[string]error{
		"maps": second(ReadMaps(pid)), "smaps": second(ReadSmaps(pid)), "stat": second(ReadStat(pid)),
		"status": second(ReadTaskStatus(pid, pid)), "tasks": second(Tasks(pid)), "children": second(Children(pid)),
		"fds": second(FDs(pid)), "fdinfo": second(ReadFDInfo(pid, 0)), "timers": second(ReadTimers(pid)),
		"sched": second(ReadSched(pid, pid)), "syscall": second(ReadSyscall(pid, pid)), "auxv": second(ReadAuxv(pid)),
		"personality": second(ReadPersonality(pid)), "coredump_filter": second(ReadCoredumpFilter(pid)),
		"oom_score_adj": second(ReadOOMScoreAdj(pid)), "comm": second(ReadComm(pid, pid)), "cmdline": second(Cmdline(pid)),
		"pagemap": second(OpenPagemap(pid)), "scan": second(pagemap.Present(0, 1<<46, Populated, nil)),
		"guards": second(pagemap.Guards(0, 1<<46)),
	} {
		if !Gone(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestEndedWhileRead ends processes while others read them: whatever comes
// back is a value or an error of the known kinds.
func TestEndedWhileRead(t *testing.T) {
	for range 30 {
		cmd := exec.Command("sleep", "1000")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		started := make(chan struct{})
		go func() {
			defer close(done)
			pid := cmd.Process.Pid
			for first := true; ; first = false {
				for _, err := range []error{second(ReadSmaps(pid)), second(FDs(pid)), second(ReadStatus(pid)), second(Children(pid))} {
					if err != nil && !Gone(err) && !errors.Is(err, fs.ErrPermission) {
						t.Errorf("%v", err)
						return
					}
				}
				if first {
					close(started)
				}
				if _, err := ReadStat(pid); Gone(err) {
					return
				}
			}
		}()
		<-started
		cmd.Process.Kill()
		cmd.Wait()
		<-done
	}
}

func TestLoadAvg(t *testing.T) {
	l := must[*LoadAvg](t)(OpenLoadAvg())
	defer l.Close()
	must[int](t)(l.LastPID())
	cmd := sleeper(t)
	pid := must[int](t)(l.LastPID())
	// Others create processes, too; ids wrap. The cursor is at ours or beyond it.
	if d := pid - cmd.Process.Pid; d < 0 && d > -1000 {
		t.Errorf("last id %d after process %d was made", pid, cmd.Process.Pid)
	}
	if n := testing.AllocsPerRun(100, func() { l.LastPID() }); n > 1 { // the race detector makes one
		t.Errorf("%v allocations", n)
	}
	if err := errors.Join(l.Close(), l.Close()); err != nil {
		t.Error(err)
	}
	if _, err := l.LastPID(); err == nil || !strings.Contains(err.Error(), loadAvgPath) {
		t.Errorf("after Close: %v", err)
	}
}

func BenchmarkLastPID(b *testing.B) {
	l := must[*LoadAvg](b)(OpenLoadAvg())
	defer l.Close()
	for b.Loop() {
		if _, err := l.LastPID(); err != nil {
			b.Fatal(err)
		}
	}
}
