package snapshot

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/crtrace/crtrace/regs"
)

// Contents of the sample image.
var (
	sampleFile   = []byte("#!/bin/sh\necho saved\n")
	sampleState  = [][]byte{bytes.Repeat([]byte{0xa1}, 576), bytes.Repeat([]byte{0xb2}, 576), bytes.Repeat([]byte{0xc3}, 100)}
	sampleSHA256 = sumOf(sampleFile)
)

// Page stores of the sample image: what is written where.
var (
	samplePages1 = cat(page(0x11), page(0), page(0))
	samplePages2 = page(0x22)
	sampleShared = cat(page(0), page(0x33))
)

func sumOf(b []byte) string { s := sha256.Sum256(b); return hex.EncodeToString(s[:]) }

// page returns a page that holds n copies of one byte, so that golden images compress.
func page(b byte) []byte { return bytes.Repeat([]byte{b}, PageSize) }

func cat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// siginfo returns a queued signal as the kernel would give it.
func siginfo(signal int) Siginfo {
	raw := make([]byte, 128)
	raw[0] = byte(signal)
	return Siginfo{Signal: signal, Raw: raw}
}

// sampleManifest returns a manifest with two processes and every kind of object.
// The stores and extents are filled in by writeSample.
func sampleManifest() *Manifest {
	return &Manifest{
		Created: time.Date(2025, 1, 2, 3, 4, 5, 678, time.UTC),
		Tool:    "test",
		Host: Host{
			Name: "node", Kernel: "6.18.0", Arch: "amd64", PageSize: PageSize, BootID: "b", XCR0: 7, XState: []regs.XComponent{{Bit: 2, Offset: 576, Size: 256}},
			Clocks: Clocks{1, 2, 3},
		},
		Root: 100, Session: 7, Group: 90,
		Processes: []Process{sampleRoot(), sampleChild()},
		Zombies:   []Zombie{{PID: 105, PPID: 100, PGID: 100, SID: 7, Status: 0x300}},
		Files: []File{
			{ID: 0, Path: "/usr/bin/app", Mode: 0o100755, Dev: 0xfe00, Ino: 1 << 60, Size: 9, MTime: -1, SHA256: strings.Repeat("1e", 32)},
			{ID: 1, Path: "/tmp/caf\xe9 <&>", Size: int64(len(sampleFile)), SHA256: sampleSHA256, Saved: true, Deleted: true},
		},
		Shared: []Shared{
			{ID: 0, Name: "buffer", Kind: "memfd", Size: 5000, Seals: 4, Mode: 0o100777, Store: "shm-1"},
			{ID: 1, Name: "", Kind: "anon", Size: PageSize, Store: "shm-2"},
			{ID: 2, Name: "SYSV0000002a", Kind: "sysv", Size: 5000, Store: "shm-3", SysV: &SysVShm{
				IPC: IPC{ID: 32770, Key: 42, Mode: 0o600, UID: 1000, GID: 100, CUID: 1000, CGID: 100}, Removed: true, Locked: true,
			}},
		},
		Semaphores: []SemaphoreSet{{
			IPC: IPC{ID: 1, Key: -42, Mode: 0o640, Guessed: true}, Values: []int{3, 0}, PIDs: []int{100, 0},
			Undo: []SemUndo{{PID: 100, Semaphore: 0, Adjust: -7}, {PID: 100, Semaphore: 1, Adjust: 1}, {PID: 55, Semaphore: 0, Adjust: 5}},
		}},
		Queues: []MessageQueue{{
			IPC: IPC{ID: 2}, Limit: 16384, Sender: 100, Receiver: 55, Messages: []Message{{Type: 1 << 40, Data: []byte("hello")}, {Type: 1, Data: []byte{}}},
		}},
		Descriptions: sampleDescriptions(),
	}
}

// sampleRoot returns the first process of the sample.
func sampleRoot() Process {
	return Process{
		PID: 100, PGID: 100, SID: 7, Exe: 0, Cwd: "/home/user",
		Attributes:  Attributes{Umask: 0o22, OOMScoreAdj: -5, Dumpable: 1, Subreaper: true},
		Credentials: Credentials{UIDs: [4]int{1000, 1000, 1000, 1000}, GIDs: [4]int{100, 100, 100, 100}, Groups: []int{100, 4}},
		Limits:      []Limit{{1, 2}, {1 << 63, ^Hex(0)}},
		MM:          MM{Store: "mm-1", StartCode: 0x1000, EndCode: 0x2000, StartBrk: 0x9000, Brk: 0xa000, Auxv: make([]byte, 32)},
		VMAs: []VMA{
			{Start: 0x400000, End: 0x402000, Prot: "r-x", Kind: VMAFile, Flags: "rd ex mr"},
			{Start: 0x402000, End: 0x403000, Prot: "rw-", Kind: VMAAnon, Name: "[heap]", Guards: []Range{{0x402000, 0x403000}}},
			{Start: 0x500000, End: 0x502000, Prot: "rw-", Shared: true, Kind: VMAShared, Object: 0, Write: true},
			{Start: 0x7ffffffde000, End: 0x7ffffffff000, Prot: "rw-", Kind: VMAAnon, Name: "[stack]", Flags: "rd wr gd"},
		},
		FDs:     []FD{{Num: 0, Description: 3}, {Num: 1, Description: 0, CloseOnExec: true}, {Num: 9, Description: 7}},
		Locks:   []Lock{{Kind: "posix", Description: -1, File: 1, FD: 1, Type: "write", Start: 5, End: -1}},
		Actions: []Action{{Signal: 15, Handler: 0x400100, Flags: 0x14000000, Restorer: 0x400200, Mask: ^Hex(0)}},
		Pending: []Siginfo{siginfo(10)},
		ITimers: []ITimer{{Which: 0, Value: 5, Interval: 6}},
		Timers:  []PosixTimer{{ID: 0, Clock: 1, Signal: 34, TID: 101, Sigval: 9, Value: 1, Interval: 2}},
		Threads: []Thread{
			{
				TID: 100, Comm: "main\xc3", Regs: regs.AMD64{Rip: 0x400010, Rsp: ^uint64(0)},
				Call: &Call{Number: 230, Remaining: -1}, Mask: 1 << 63, Affinity: []byte{3, 0, 0, 0, 0, 0, 0, 0},
			},
			{TID: 101, Comm: "worker", Pending: []Siginfo{siginfo(64)}, TLS: []TLS{{Entry: 12}}, Sched: Sched{Nice: -20, Runtime: 1 << 60}},
		},
	}
}

// sampleChild returns the second process of the sample.
func sampleChild() Process {
	return Process{
		PID: 55, PPID: 100, ParentTID: 101, PGID: 55, SID: 7, Stopped: 19, Exe: 1, Cwd: "/", CwdGone: true,
		MM: MM{Store: "mm-2"},
		VMAs: []VMA{
			{Start: 0x10000, End: 0x11000, Prot: "---", Kind: VMAFile, Object: 1, Offset: 0x3000},
			{Start: 0x7fff00000000, End: 0x7fff00002000, Prot: "r-x", Kind: VMAVDSO, Name: "[vdso]"},
		},
		Threads: []Thread{{TID: 55, Comm: "child"}},
	}
}

// sampleDescriptions returns a description of every kind.
func sampleDescriptions() []Description {
	all := []Detail{
		&Regular{File: 1, Offset: 7},
		&Directory{Path: "/home", Offset: 1 << 62},
		&Path{Path: "/etc/x", Mode: 0o100644},
		&TTY{Path: "/dev/pts/3", Control: true, Foreground: 90},
		&Device{Path: "/dev/null", Major: 1, Minor: 3},
		&Outside{Link: "pipe:[1]", Stream: 2},
		&Pipe{Ino: 9, Capacity: 65536, Content: []byte("in flight"), Packets: []int{3, 6}},
		&Pipe{Ino: 9, Capacity: 65536},
		&EventFD{Count: ^Hex(0) - 1, Semaphore: true},
		&Epoll{Entries: []EpollEntry{{FD: 1, Description: 8, Events: 1, Data: 1 << 63}}},
		&SignalFD{Mask: 1 << 14},
		&TimerFD{Clock: 1, Value: 5, Interval: 6, Ticks: 1},
		&Inotify{Watches: []Watch{{WD: 1, Path: "/a", Mask: 2}, {WD: 4, Path: "/b"}}},
		&MemoryFD{Shared: 0, Offset: 3},
		&PidFD{PID: 55},
		&MQueue{Name: "jobs", Dev: 0x14, Ino: 99, Removed: true, Mode: 0o640, MaxMessages: 10, MessageSize: 8192, Notify: &MQNotify{PID: 55, Signal: 10}},
		&Socket{Family: 1, Type: 1, Local: []byte{1, 0}, Listen: true, Backlog: 5, Options: []SocketOption{{1, 2, []byte{1}}}},
	}
	out := make([]Description, len(all))
	for i, d := range all {
		out[i] = Description{ID: i, Flags: 0x8002, Detail: d}
	}
	out[0].Owner = &Owner{Type: 1, ID: 100, Signal: 10}
	return out
}

// must returns a function that ends the test on an error.
func must(t testing.TB) func(error) {
	return func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
}

// fillSample writes the bulk data of the sample and enters it in m.
func fillSample(t testing.TB, w *Writer, m *Manifest) {
	t.Helper()
	ok := must(t)
	add := func(name string, pieces map[uint64][]byte, order ...uint64) {
		s, err := w.Store(name)
		ok(err)
		for _, addr := range order {
			ok(s.Write(addr, pieces[addr]))
		}
		entry, err := s.Close()
		ok(err)
		m.Stores = append(m.Stores, entry)
	}
	add("mm-1", map[uint64][]byte{0x400000: samplePages1, 0x7fffffffe000: samplePages2}, 0x400000, 0x7fffffffe000)
	add("mm-2", nil)
	add("shm-1", map[uint64][]byte{0: sampleShared}, 0)
	add("shm-2", map[uint64][]byte{0: page(0)}, 0)
	add("shm-3", map[uint64][]byte{0: page(0x44)}, 0)
	threads := []*Thread{&m.Processes[0].Threads[0], &m.Processes[0].Threads[1], &m.Processes[1].Threads[0]}
	for i, thread := range threads {
		e, err := w.AddXState(sampleState[i])
		ok(err)
		thread.XState = e
	}
	for range 2 { // the second time the content is there already
		sum, size, err := w.SaveFile(bytes.NewReader(sampleFile))
		ok(err)
		if sum != sampleSHA256 || size != int64(len(sampleFile)) {
			t.Fatalf("SaveFile: %s, %d bytes", sum, size)
		}
	}
}

// writeSample writes the sample image into dir and returns its manifest.
func writeSample(t testing.TB, dir string) *Manifest {
	t.Helper()
	ok := must(t)
	w, err := Create(dir)
	ok(err)
	m := sampleManifest()
	fillSample(t, w, m)
	size, err := w.Commit(m)
	ok(err)
	ok(w.Abort())
	if have := treeSize(t, dir); have != size {
		t.Fatalf("Commit says %d bytes, the files have %d", size, have)
	}
	return m
}

// treeSize returns the size of all files below dir.
func treeSize(t testing.TB, dir string) int64 {
	t.Helper()
	var n int64
	for _, name := range treeFiles(t, dir) {
		info, err := os.Lstat(filepath.Join(dir, name))
		must(t)(err)
		n += info.Size()
	}
	return n
}

// treeFiles returns the names of all files below dir.
func treeFiles(t testing.TB, dir string) []string {
	t.Helper()
	var out []string
	must(t)(filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			name, _ := filepath.Rel(dir, path)
			out = append(out, name)
		}
		return err
	}))
	return out
}

// openAndVerify opens an image and verifies all of it.
func openAndVerify(dir string) error {
	im, err := Open(dir)
	if err != nil {
		return err
	}
	defer im.Close()
	return im.Verify()
}

// resign makes manifest.sha256 fit to manifest.json.
func resign(t testing.TB, dir string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, manifestName))
	must(t)(err)
	must(t)(os.WriteFile(filepath.Join(dir, checksumName), []byte(checksumLine(data)), 0o600))
}
