package procfs

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestFDInfo(t *testing.T) {
	const ino = 9978049
	lab, disk := mkdev(0, 0x10), mkdev(0xfe, 0)
	cases := map[string]FDInfo{
		"eventfd":     {Flags: 0o2, MntID: 17, Ino: 1038, EventFDCount: 0x2a, EventFDSemaphore: true},
		"eventfd-big": {Flags: 0o4002, MntID: 17, Ino: 1038, EventFDCount: 0x8000000000000028},
		"epoll": {Flags: 0o2000002, MntID: 17, Ino: 1038, Epoll: []EpollEntry{
			{FD: 3, Events: 0xc0000019, Data: 0xdeadbeefcafebabe, Ino: 0x40e, Dev: lab},
			{FD: 4, Events: 0x1000001c, Data: 3, Ino: 0x40e, Dev: lab}}},
		"timerfd": {Flags: 0o4002, MntID: 17, Ino: 1038,
			Timer: &TimerFD{Clock: 7, Value: 3599999993402, Interval: 1000000500}},
		"timerfd-abs": {Flags: 0o4002, MntID: 17, Ino: 1038,
			Timer: &TimerFD{Clock: 7, SettimeFlags: 1, Value: 2147482345377833530, Interval: 1000000500}},
		"signalfd": {Flags: 0o2, MntID: 17, Ino: 1038, SigMask: 0x8000000000010200},
		"inotify": {MntID: 17, Ino: 1038, Inotify: []InotifyWatch{
			{WD: 3, Ino: 1, Dev: mkdev(0, 0x1b), Mask: 0x80000100, HandleType: 1,
				Handle: []byte{0x16, 0xc0, 0xf5, 0x55, 1, 0, 0, 0, 0, 0, 0, 0}},
			{WD: 2, Ino: 1, Dev: mkdev(0, 0x15), Mask: 0x100, HandleType: 0x81,
				Handle: []byte{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}},
			{WD: 1, Ino: 0x984091, Dev: disk, Mask: 0x402, HandleType: 1,
				Handle: []byte{0x91, 0x40, 0x98, 0, 0xe9, 0xfc, 0x35, 0x76}}}},
		"fanotify":   {Flags: 0o2, MntID: 17, Ino: 1038},
		"pidfd-live": {Flags: 0o2000002, MntID: 4, Ino: 5116, Pid: 5115, NSpid: []int{5115}},
		"pidfd-dead": {Flags: 0o2000002, MntID: 4, Ino: 5116, Pid: -1, NSpid: []int{-1}},
		"locks-f": {Pos: 10, Flags: 0o102002, MntID: 27, Ino: ino, Locks: []Lock{
			{ID: 1, Class: "FLOCK", Mode: "ADVISORY", Type: "READ", PID: 5114, Dev: disk, Ino: ino, End: -1},
			{ID: 2, Class: "POSIX", Mode: "ADVISORY", Type: "WRITE", PID: 5114, Dev: disk, Ino: ino, Start: 2, End: 6},
			{ID: 3, Class: "POSIX", Mode: "ADVISORY", Type: "READ", PID: 5114, Dev: disk, Ino: ino, Start: 100, End: -1}}},
		"locks-f2": {Flags: 0o100002, MntID: 27, Ino: ino, Locks: []Lock{
			{ID: 1, Class: "OFDLCK", Mode: "ADVISORY", Type: "WRITE", PID: -1, Dev: disk, Ino: ino, Start: 50, End: 50}}},
		"lease": {Flags: 0o120002, MntID: 27, Ino: 9978065, Locks: []Lock{
			{ID: 1, Class: "LEASE", Mode: "ACTIVE", Type: "WRITE", PID: 5114, Dev: disk, Ino: 9978065, End: -1}}},
		"lease-breaking": {Flags: 0o120002, MntID: 27, Ino: 9978065, Locks: []Lock{
			{ID: 1, Class: "LEASE", Mode: "BREAKING", Type: "READ", PID: 5114, Dev: disk, Ino: 9978065, End: -1}}},
		"memfd":   {Flags: 0o100002, Ino: 1046},
		"deleted": {Flags: 0o100002, MntID: 27, Ino: 9978163},
		"pipe":    {MntID: 16, Ino: 8391},
	}
	for name, want := range cases {
		t.Run(name, func(t *testing.T) {
			equal(t, must[FDInfo](t)(parseFDInfo(fixture(t, "fdinfo-"+name))), want)
		})
	}
}

// TestFDInfoOther has lines of older kernels and of kinds of files that are not decoded.
func TestFDInfoOther(t *testing.T) {
	const head = "pos:\t-1\nflags:\t02\nmnt_id:\t9\n"
	plain := FDInfo{Pos: -1, Flags: 2, MntID: 9}
	with := func(set func(*FDInfo)) FDInfo { i := plain; set(&i); return i }
	cases := map[string]FDInfo{
		"": plain,
		"SqMask:\t0x3\nUserFiles:\t0\nPollList:\n  op=1, task_works=0\nCqOverflowList:\n  user_data=1, res=0\n\n": plain,
		"tfd:        5 events:       19 data: ffffffffffffffff\n": with(func(i *FDInfo) {
			i.Epoll = []EpollEntry{{FD: 5, Events: 0x19, Data: 1<<64 - 1}}
		}),
		"tfd: 5 events: 19 data: 1 pos:-9223372036854775808 ino:ffffffffffffffff sdev:fff00001\n": with(func(i *FDInfo) {
			i.Epoll = []EpollEntry{{FD: 5, Events: 0x19, Data: 1, Pos: -1 << 63, Ino: 1<<64 - 1, Dev: mkdev(0xfff, 1)}}
		}),
		"inotify wd:1f ino:2 sdev:3 mask:ffffffff ignored_mask:0 \n": with(func(i *FDInfo) {
			i.Inotify = []InotifyWatch{{WD: 31, Ino: 2, Dev: mkdev(0, 3), Mask: 0xffffffff}}
		}),
		"scm_fds: 3\n":            with(func(i *FDInfo) { i.ScmFDs = 3 }),
		"Pid:\t0\nNSpid:\t0\n":    with(func(i *FDInfo) { i.NSpid = []int{0} }),
		"Pid:\t7\nNSpid:\t7\t1\n": with(func(i *FDInfo) { i.Pid, i.NSpid = 7, []int{7, 1} }),
	}
	for text, want := range cases {
		equal(t, must[FDInfo](t)(parseFDInfo([]byte(head+text))), want)
	}
}

func TestFDInfoRefuses(t *testing.T) {
	const head = "pos:\t0\nflags:\t02\nmnt_id:\t9\n"
	refuses(t, parseFDInfo, map[string]int{
		"":                                   0,
		"pos:\t0\n":                          0,
		"pos:\tx\n":                          1,
		"pos:\t0\nflags:\t09\n":              2,
		head + "ino:\t-1\n":                  4,
		head + "eventfd-count: xyz\n":        4,
		head + "eventfd-semaphore: 2\n":      4,
		head + "sigmask:\t\n":                4,
		head + "clockid: x\n":                4,
		head + "it_value: (1, 1000000000)\n": 4,
		head + "it_value: (9223372036, 854775808)\n":           4,
		head + "it_value: 1, 2\n":                              4,
		head + "it_interval: (-1, 2)\n":                        4,
		head + "tfd: 1\n":                                      4,
		head + "tfd: 1 events: 1 data: 1 ino:1 pos:1 sdev:1\n": 4,
		head + "tfd: 1 events: 1 data: 1 pos:1 ino:1\n":        4,
		head + "tfd: -1 events: 1 data: 1\n":                   4,
		head + "tfd: 1 events: 100000000 data: 1\n":            4,
		head + "inotify wd:1\n":                                4,
		head + "inotify wd:1 ino:2 sdev:3 mask:4 ignored_mask:0 fhandle-bytes:2 fhandle-type:1 f_handle:01\n": 4,
		head + "inotify wd:1 ino:2 sdev:3 mask:4 ignored_mask:0 fhandle-bytes:1 fhandle-type:1 f_handle:0x\n": 4,
		head + "inotify wd:1 ino:2 sdev:3 mask:4 ignored_mask:0 fhandle-bytes:1\n":                            4,
		head + "inotify wd:100000000 ino:2 sdev:3 mask:4 ignored_mask:0\n":                                    4,
		head + "lock:\trubbish\n": 4,
	})
}

func FuzzFDInfo(f *testing.F) {
	names := must[[]os.DirEntry](f)(os.ReadDir("testdata"))
	var seeds []string
	for _, e := range names {
		if strings.HasPrefix(e.Name(), "fdinfo-") {
			seeds = append(seeds, string(fixture(f, e.Name())))
		}
	}
	fuzz(f, parseFDInfo, seeds...)
}

// TestFDInfoLive makes descriptors and reads them back.
func TestFDInfoLive(t *testing.T) {
	pid := os.Getpid()
	keep := func(fd int, err error) int {
		t.Helper()
		must[int](t)(fd, err)
		t.Cleanup(func() { unix.Close(fd) })
		return fd
	}
	info := func(fd int) FDInfo { return must[FDInfo](t)(ReadFDInfo(pid, fd)) }

	ev := keep(unix.Eventfd(7, unix.EFD_SEMAPHORE|unix.EFD_CLOEXEC))
	if i := info(ev); i.EventFDCount != 7 || !i.EventFDSemaphore || i.Flags != unix.O_RDWR|unix.O_CLOEXEC {
		t.Errorf("eventfd: %+v", i)
	}
	ep := keep(unix.EpollCreate1(unix.EPOLL_CLOEXEC))
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: -2, Pad: 77}
	if err := unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, ev, &event); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(ev, &st); err != nil {
		t.Fatal(err)
	}
	equal(t, info(ep).Epoll, []EpollEntry{{FD: ev, Events: unix.EPOLLIN | unix.EPOLLET | unix.EPOLLERR | unix.EPOLLHUP,
		Data: 77<<32 | 0xfffffffe, Ino: st.Ino, Dev: st.Dev}})

	tm := keep(unix.TimerfdCreate(unix.CLOCK_MONOTONIC, 0))
	spec := unix.ItimerSpec{Value: unix.Timespec{Sec: 1000}, Interval: unix.Timespec{Nsec: 5}}
	if err := unix.TimerfdSettime(tm, 0, &spec, nil); err != nil {
		t.Fatal(err)
	}
	if got := info(tm).Timer; got == nil || got.Clock != unix.CLOCK_MONOTONIC || got.Interval != 5 ||
		got.Value > 1000e9 || got.Value < 900e9 {
		t.Errorf("timerfd: %+v", got)
	}

	in := keep(unix.InotifyInit1(unix.IN_CLOEXEC))
	wd := 0
	dir := t.TempDir()
	for wd < 11 { // beyond 9, to see which base the kernel prints
		sub := dir + "/" + strings.Repeat("x", wd+1)
		if err := os.Mkdir(sub, 0o700); err != nil {
			t.Fatal(err)
		}
		wd = must[int](t)(unix.InotifyAddWatch(in, sub, unix.IN_CREATE))
		if err := unix.Stat(sub, &st); err != nil {
			t.Fatal(err)
		}
	}
	watches := info(in).Inotify
	if len(watches) != 11 || watches[0].WD != 11 || watches[0].Ino != st.Ino || watches[0].Dev != st.Dev || watches[0].Mask != unix.IN_CREATE {
		t.Errorf("inotify: %+v, want wd 11 of inode %d", watches, st.Ino)
	}

	pf := keep(unix.PidfdOpen(pid, 0))
	if i := info(pf); i.Pid != pid || len(i.NSpid) == 0 || i.NSpid[0] != pid {
		t.Errorf("pidfd: %+v", i)
	}
	if _, err := ReadFDInfo(pid, 999999); !Gone(err) {
		t.Errorf("closed descriptor: %v", err)
	}
}
