package procfs

import (
	"errors"
	"os"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// area is mapped memory of this process; pages are counted from its start.
type area []byte

func mapArea(t *testing.T, pages, prot, flags, fd int) area {
	t.Helper()
	mem := must[[]byte](t)(unix.Mmap(fd, 0, pages*int(pageSize), prot, flags))
	t.Cleanup(func() { unix.Munmap(mem) })
	unix.Madvise(mem, unix.MADV_NOHUGEPAGE) // not every kernel has huge pages
	return mem
}

const (
	rw       = unix.PROT_READ | unix.PROT_WRITE
	anon     = unix.MAP_PRIVATE | unix.MAP_ANONYMOUS
	anonShrd = unix.MAP_SHARED | unix.MAP_ANONYMOUS
)

func (a area) write(pages ...int) {
	for _, p := range pages {
		a[p*int(pageSize)] = 1
	}
}

// sink keeps the compiler from leaving reads out.
var sink byte

func (a area) read(pages ...int) (sum byte) {
	for _, p := range pages {
		sum += a[p*int(pageSize)]
	}
	sink += sum
	return sum
}

func (a area) start() uint64 { return uint64(uintptr(unsafe.Pointer(&a[0]))) }
func (a area) end() uint64   { return a.start() + uint64(len(a)) }

// addr makes ranges of addresses from ranges of pages.
func (a area) addr(pages ...Range) (out []Range) {
	for _, r := range pages {
		out = append(out, Range{a.start() + r.Start*pageSize, a.start() + r.End*pageSize})
	}
	return out
}

// present is Present with the given mode of work.
func (a area) present(t *testing.T, mode scanMode, which Pages) []Range {
	t.Helper()
	p := must[*Pagemap](t)(OpenPagemap(os.Getpid()))
	defer p.Close()
	if p.mode > mode {
		t.Skipf("this kernel has no PAGEMAP_SCAN that would do: mode %d, want %d", p.mode, mode)
	}
	p.mode = mode
	return must[[]Range](t)(p.Present(a.start(), a.end(), which, nil))
}

// modes runs a test in every mode that this kernel allows.
func modes(t *testing.T, f func(t *testing.T, mode scanMode)) {
	for mode, name := range map[scanMode]string{scanGuards: "scan", scanPlain: "scan without guards", readOnly: "read"} {
		t.Run(name, func(t *testing.T) { f(t, mode) })
	}
}

func TestPresentAnonymous(t *testing.T) {
	modes(t, func(t *testing.T, mode scanMode) {
		a := mapArea(t, 100, rw, anon, -1)
		if got := a.present(t, mode, Populated); len(got) != 0 {
			t.Errorf("untouched: %x", got)
		}
		a.write(0, 1, 2, 10, 98, 99)
		a.read(3, 20, 97) // maps the zero page
		want := []Range{{0, 3}, {10, 11}, {98, 100}}
		if mode == readOnly { // which cannot tell the zero page
			want = []Range{{0, 4}, {10, 11}, {20, 21}, {97, 100}}
		}
		equal(t, a.present(t, mode, Populated), a.addr(want...))
		equal(t, a[10*pageSize:90*pageSize].present(t, mode, Populated)[0], a.addr(Range{10, 11})[0])
		if err := unix.Madvise(a[pageSize:2*pageSize], unix.MADV_DONTNEED); err != nil {
			t.Fatal(err)
		}
		if got := a.present(t, mode, Populated); got[0] != a.addr(Range{0, 1})[0] {
			t.Errorf("page 1 was dropped: %x", got)
		}
	})
}

// file makes a file of 100 pages that hold data.
func file(t *testing.T) *os.File {
	t.Helper()
	f := must[*os.File](t)(os.CreateTemp(t.TempDir(), ""))
	t.Cleanup(func() { f.Close() })
	data := make([]byte, 100*pageSize)
	for i := range data {
		data[i] = 7
	}
	must[int](t)(f.Write(data))
	return f
}

func TestPresentPrivateFile(t *testing.T) {
	modes(t, func(t *testing.T, mode scanMode) {
		f := file(t)
		a := mapArea(t, 100, rw, unix.MAP_PRIVATE, int(f.Fd()))
		a.read(0, 50) // the kernel maps more around them
		a.write(1, 2, 60, 99)
		copied := a.addr(Range{1, 3}, Range{60, 61}, Range{99, 100})
		equal(t, a.present(t, mode, PrivateFile), copied)
		all := a.present(t, mode, Populated)
		if len(subtract(copied, all)) != 0 || len(subtract(a.addr(Range{0, 1}, Range{50, 51}), all)) != 0 {
			t.Errorf("Populated has %x", all)
		}
		if err := unix.Mprotect(a[pageSize:2*pageSize], unix.PROT_NONE); err != nil {
			t.Fatal(err)
		}
		equal(t, a.present(t, mode, PrivateFile), copied)
	})
}

func TestPresentShared(t *testing.T) {
	modes(t, func(t *testing.T, mode scanMode) {
		a := mapArea(t, 50, rw, anonShrd, -1)
		a.write(3, 4, 40)
		equal(t, a.present(t, mode, Populated), a.addr(Range{3, 5}, Range{40, 41}))
		if got := a.present(t, mode, PrivateFile); len(got) != 0 {
			t.Errorf("shared pages taken for private ones: %x", got)
		}
		// What Populated warns of: the page is out of the page table and still has data.
		if err := unix.Madvise(a[3*pageSize:4*pageSize], unix.MADV_DONTNEED); err != nil {
			t.Fatal(err)
		}
		equal(t, a.present(t, mode, Populated), a.addr(Range{4, 5}, Range{40, 41}))
		if a.read(3) != 1 {
			t.Error("the page lost its data")
		}
	})
}

// TestPresentMany has more ranges than the ioctl's buffer and the kernel's own.
func TestPresentMany(t *testing.T) {
	modes(t, func(t *testing.T, mode scanMode) {
		for _, n := range []int{511, 512, 513, 514, 1024, 1025, scanRegions - 1, scanRegions, scanRegions + 1, 3*scanRegions + 600} {
			a := mapArea(t, 2*n+1, rw, anon, -1)
			var want []Range
			for i := range n {
				a.write(2*i + 1)
				want = append(want, Range{uint64(2*i + 1), uint64(2*i + 2)})
			}
			got := a.present(t, mode, Populated)
			if len(got) != n {
				t.Errorf("%d ranges, want %d", len(got), n)
			}
			equal(t, got, a.addr(want...))
			for i := range n {
				a.write(2 * i)
			}
			a.write(2 * n)
			equal(t, a.present(t, mode, Populated), a.addr(Range{0, uint64(2*n + 1)}))
		}
	})
}

// TestPresentAppends checks that what is in the buffer stays and is not joined with.
func TestPresentAppends(t *testing.T) {
	a := mapArea(t, 3, rw, anon, -1)
	a.write(0, 2)
	p := must[*Pagemap](t)(OpenPagemap(os.Getpid()))
	defer p.Close()
	before := Range{a.start() - pageSize, a.start()}
	got := must[[]Range](t)(p.Present(a.start(), a.end(), Populated, []Range{before}))
	equal(t, got, append([]Range{before}, a.addr(Range{0, 1}, Range{2, 3})...))
}

// TestPresentReservation scans 8 TiB that hold nothing and 1 TiB with 4 pages.
func TestPresentReservation(t *testing.T) {
	p := must[*Pagemap](t)(OpenPagemap(os.Getpid()))
	defer p.Close()
	if p.mode == readOnly {
		t.Skip("this kernel has no PAGEMAP_SCAN")
	}
	reserve := func(size uintptr, prot int) uint64 {
		addr, err := unix.MmapPtr(-1, 0, nil, size, prot, anon|unix.MAP_NORESERVE)
		if err != nil {
			t.Skipf("no room for %d bytes of addresses: %v", size, err)
		}
		t.Cleanup(func() { unix.MunmapPtr(addr, size) })
		return uint64(uintptr(addr))
	}
	const size = 8 << 40
	start := reserve(size, unix.PROT_NONE)
	buf := make([]Range, 0, 16)
	best := time.Hour
	for range 5 {
		begin := time.Now()
		buf = must[[]Range](t)(p.Present(start, start+size, Populated, buf[:0]))
		best = min(best, time.Since(begin))
	}
	if len(buf) != 0 || best > 20*time.Millisecond {
		t.Errorf("8 TiB of nothing: %x in %v", buf, best)
	}
	t.Logf("8 TiB of nothing: %v", best)
	if n := testing.AllocsPerRun(10, func() { buf, _ = p.Present(start, start+size, Populated, buf[:0]) }); n > 1 { // the race detector makes one
		t.Errorf("%v allocations", n)
	}
	sparse := reserve(1<<40, rw)
	pages := unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(nil), sparse)), 1<<40)
	unix.Madvise(pages, unix.MADV_NOHUGEPAGE)
	var want []Range
	for i := range uint64(4) {
		pages[i<<38] = 1
		want = append(want, Range{sparse + i<<38, sparse + i<<38 + pageSize})
	}
	equal(t, must[[]Range](t)(p.Present(sparse, sparse+1<<40, Populated, nil)), want)
}

func TestGuards(t *testing.T) {
	modes(t, func(t *testing.T, mode scanMode) {
		a := mapArea(t, 20, rw, anon, -1)
		a.write(0, 1, 2, 3, 4, 10)
		for _, r := range []Range{{1, 3}, {8, 9}} {
			const guardInstall = 102 // MADV_GUARD_INSTALL
			if err := unix.Madvise(a[r.Start*pageSize:r.End*pageSize], guardInstall); err != nil {
				t.Skipf("this kernel has no guard regions: %v", err)
			}
		}
		p := must[*Pagemap](t)(OpenPagemap(os.Getpid()))
		defer p.Close()
		if p.mode != scanGuards {
			t.Skip("this kernel does not tell its guard regions for certain")
		}
		p.mode = mode
		equal(t, must[[]Range](t)(p.Guards(a.start(), a.end())), a.addr(Range{1, 3}, Range{8, 9}))
		for _, which := range []Pages{Populated, PrivateFile} {
			equal(t, must[[]Range](t)(p.Present(a.start(), a.end(), which, nil)), a.addr(Range{0, 1}, Range{3, 5}, Range{10, 11}))
		}
	})
}

// TestPresentAnother scans another process, the usual case.
func TestPresentAnother(t *testing.T) {
	cmd := sleeper(t)
	pid := cmd.Process.Pid
	eventually(t, "a stack", func() bool {
		for _, m := range must[[]Mapping](t)(ReadMaps(pid)) {
			if m.Path == "[stack]" {
				p := must[*Pagemap](t)(OpenPagemap(pid))
				defer p.Close()
				return len(must[[]Range](t)(p.Present(m.Start, m.End, Populated, nil))) > 0
			}
		}
		return false
	})
}

func TestEntries(t *testing.T) {
	cases := []struct {
		name             string
		entry            uint64
		populated, owned bool
	}{
		{"nothing", 0, false, false},
		{"soft-dirty hole", 1 << 55, false, false},
		{"private page", entryPresent | 1<<56, true, true},
		{"page of a file", entryPresent | entryFile, true, false},
		{"swapped private page", entrySwapped, true, true},
		{"page of a file that migrates", entrySwapped | entryFile, true, false},
		{"guard region", entrySwapped | entryGuard, false, false},
	}
	for _, c := range cases {
		if Populated.match(c.entry) != c.populated || PrivateFile.match(c.entry) != c.owned {
			t.Errorf("%s: Populated %v, PrivateFile %v", c.name, !c.populated, !c.owned)
		}
	}
}

func TestSubtract(t *testing.T) {
	r := func(v ...uint64) (out []Range) {
		for i := 0; i < len(v); i += 2 {
			out = append(out, Range{v[i], v[i+1]})
		}
		return out
	}
	for _, c := range []struct{ a, b, want []Range }{
		{r(1, 5, 7, 9), nil, r(1, 5, 7, 9)},
		{r(1, 5, 7, 9), r(0, 10), nil},
		{r(1, 5, 7, 9), r(2, 3, 4, 8), r(1, 2, 3, 4, 8, 9)},
		{r(1, 5, 7, 9), r(5, 7), r(1, 5, 7, 9)},
		{r(1, 9), r(0, 1, 1, 2, 8, 9, 9, 10), r(2, 8)},
		{nil, r(1, 2), nil},
		{r(1, 3, 3, 5), r(2, 4), r(1, 2, 4, 5)},
	} {
		equal(t, subtract(c.a, c.b), c.want)
	}
}

func TestPresentRefuses(t *testing.T) {
	p := must[*Pagemap](t)(OpenPagemap(os.Getpid()))
	for _, r := range []Range{{1, pageSize}, {0, 1}, {2 * pageSize, pageSize}, {0, 1 << 63}, {0xffffffffff600000, 0xffffffffff601000}} {
		if _, err := p.Present(r.Start, r.End, Populated, nil); !errors.Is(err, unix.EINVAL) {
			t.Errorf("%x: %v", r, err)
		}
		if _, err := p.Guards(r.Start, r.End); !errors.Is(err, unix.EINVAL) {
			t.Errorf("%x: %v", r, err)
		}
	}
	if err := errors.Join(p.Close(), p.Close()); err != nil {
		t.Error(err)
	}
	if _, err := p.Present(0, pageSize, Populated, nil); !errors.Is(err, unix.EBADF) {
		t.Errorf("after Close: %v", err)
	}
}

func BenchmarkPresentAlternate(b *testing.B) {
	const pages = 1 << 16
	mem := must[[]byte](b)(unix.Mmap(-1, 0, pages*int(pageSize), rw, anon))
	defer unix.Munmap(mem)
	unix.Madvise(mem, unix.MADV_NOHUGEPAGE)
	for i := 0; i < pages; i += 2 {
		area(mem).write(i)
	}
	p := must[*Pagemap](b)(OpenPagemap(os.Getpid()))
	defer p.Close()
	buf := make([]Range, 0, pages)
	for b.Loop() {
		buf = must[[]Range](b)(p.Present(area(mem).start(), area(mem).end(), Populated, buf[:0]))
	}
	if len(buf) != pages/2 {
		b.Errorf("%d ranges", len(buf))
	}
}
