package restore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/arch/x86/x86asm"
	"golang.org/x/sys/unix"

	"github.com/crtrace/crtrace/snapshot"
	"github.com/crtrace/crtrace/tracer"
	"github.com/crtrace/crtrace/tracer/procfs"
)

func TestBurnerDistance(t *testing.T) {
	b := &burner{max: 1000}
	for _, c := range []struct{ from, to, want int }{
		{400, 401, 1}, {400, 900, 500}, {300, 999, 699},
		{900, 900, 100 + 600}, // it was given out just now: once around
		{900, 300, 100}, {999, 300, 1}, {900, 500, 300},
		{400, 100, 600}, // below the reserved ones: never again
	} {
		if got := b.distance(c.from, c.to); got != c.want {
			t.Errorf("from %d to %d: %d, want %d", c.from, c.to, got, c.want)
		}
	}
}

func TestBurnerNext(t *testing.T) {
	const base = 1 << 23 // above all ids that a kernel gives out: only held ones are taken
	b := &burner{max: base + 100, held: map[int]bool{base + 5: true, base + 6: true}}
	for _, c := range []struct{ at, want int }{{base + 1, base + 2}, {base + 4, base + 7}, {base + 5, base + 7}, {base + 98, base + 99}} {
		if got := b.next(c.at); got != c.want {
			t.Errorf("after %d: %d, want %d", c.at, got, c.want)
		}
	}
	self := os.Getpid()
	b = &burner{max: 1 << 22, held: map[int]bool{}}
	if got := b.next(self - 1); got == self {
		t.Errorf("%d is given out, but it is this process", got)
	}
	b = &burner{max: base, held: map[int]bool{}}
	if got := b.next(base - 1); got < reservedPIDs || got > reservedPIDs+4096 {
		t.Errorf("after the wrap: %d", got)
	}
}

func TestFlockStruct(t *testing.T) {
	for _, c := range []struct {
		lock         snapshot.Lock
		start, count int64
	}{
		{snapshot.Lock{Start: 0, End: -1}, 0, 0},
		{snapshot.Lock{Start: 5, End: -1}, 5, 0},
		{snapshot.Lock{Start: 5, End: 5}, 5, 1},
		{snapshot.Lock{Start: 100, End: 199}, 100, 100},
	} {
		var got, want unix.Flock_t
		b := flockStruct(c.lock, unix.F_WRLCK)
		if len(b) != 32 { // struct flock
			t.Fatalf("%d bytes, want 32", len(b))
		}
		got.Type, got.Whence = int16(binary.LittleEndian.Uint16(b)), int16(binary.LittleEndian.Uint16(b[2:]))
		got.Start, got.Len = int64(binary.LittleEndian.Uint64(b[8:])), int64(binary.LittleEndian.Uint64(b[16:]))
		want.Type, want.Start, want.Len = unix.F_WRLCK, c.start, c.count
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", c.lock, diff)
		}
	}
}

// TestFlockStructWorks: the kernel takes it and sees the same range.
func TestFlockStructWorks(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := flockStruct(snapshot.Lock{Start: 10, End: 19}, unix.F_WRLCK)
	if _, _, errno := unix.Syscall(unix.SYS_FCNTL, f.Fd(), ofdSetLock, address(b)); errno != 0 {
		t.Fatal(errno)
	}
	other, err := os.OpenFile(f.Name(), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	const ofdGetLock = 36
	ask := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(other.Fd(), ofdGetLock, &ask); err != nil {
		t.Fatal(err)
	}
	if ask.Type != unix.F_WRLCK || ask.Start != 10 || ask.Len != 10 {
		t.Errorf("the kernel holds %+v", ask)
	}
}

func TestAction(t *testing.T) {
	a := snapshot.Action{Signal: 10, Handler: 0x8049000, Flags: 0x14000004, Restorer: 0xf7fc1000, Mask: 0x8000000000000201}
	for _, c := range []struct {
		name   string
		compat bool
		sig    int
		want   []byte
	}{
		{"64", false, 10, []byte{
			0x00, 0x90, 0x04, 0x08, 0, 0, 0, 0, 0x04, 0, 0, 0x14, 0, 0, 0, 0,
			0x00, 0x10, 0xfc, 0xf7, 0, 0, 0, 0, 0x01, 0x02, 0, 0, 0, 0, 0, 0x80,
		}},
		{"32", true, 10, []byte{
			0x00, 0x90, 0x04, 0x08, 0x04, 0, 0, 0x14, 0x00, 0x10, 0xfc, 0xf7, 0x01, 0x02, 0, 0, 0, 0, 0, 0x80,
		}},
		{"64 default", false, 12, make([]byte, 32)},
		{"32 default", true, 12, make([]byte, 20)},
	} {
		p := &process{image: &snapshot.Process{Compat: c.compat, Actions: []snapshot.Action{a}}}
		if diff := cmp.Diff(c.want, p.action(c.sig)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
	numbers := map[bool]int{false: unix.SYS_RT_SIGACTION, true: 174}
	for compat, want := range numbers {
		p := &process{image: &snapshot.Process{Compat: compat}}
		if got := p.sigactionNR(); got != want {
			t.Errorf("compat %v: call %d, want %d", compat, got, want)
		}
	}
}

// hostVDSO returns this process's vdso.
func hostVDSO(t *testing.T) []byte {
	t.Helper()
	maps, err := procfs.ReadMaps(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	mem, err := tracer.OpenMemory(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	for _, m := range maps {
		if m.Path == "[vdso]" {
			image := make([]byte, m.End-m.Start)
			if err := mem.Read(m.Start, image); err != nil {
				t.Fatal(err)
			}
			return image
		}
	}
	t.Skip("no vdso")
	return nil
}

// TestRedirect: every function of the host's own vdso becomes a jump to the
// function of the same name in the new one, and nothing else changes.
func TestRedirect(t *testing.T) {
	image := hostVDSO(t)
	names, err := functions(image)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := names["__vdso_clock_gettime"]; !ok {
		t.Fatalf("no clock_gettime among %v", names)
	}
	const oldBase, newBase = 0x7ffff7fc1000, 0x7ffff0000000
	old := bytes.Clone(image)
	if err := redirect(old, image, oldBase, newBase, false); err != nil {
		t.Fatal(err)
	}
	const size = 13
	touched := map[int]bool{}
	for name, at := range names {
		mov, err := x86asm.Decode(old[at:], 64)
		if err != nil {
			t.Fatal(err)
		}
		jmp, err := x86asm.Decode(old[int(at)+mov.Len:], 64)
		if err != nil || mov.Args[0] != x86asm.R11 || mov.Args[1] != x86asm.Imm(newBase+at) || jmp.Op != x86asm.JMP || jmp.Args[0] != x86asm.R11 {
			t.Errorf("%s: %v; %v", name, mov, jmp)
		}
		for i := range size {
			touched[int(at)+i] = true
		}
	}
	for i := range image {
		if image[i] != old[i] && !touched[i] {
			t.Fatalf("byte 0x%x has changed, it belongs to no entry", i)
		}
	}
	overlaps(t, names, size)
}

// overlaps fails when a jump would reach into the next function.
func overlaps(t *testing.T, names map[string]uint64, size uint64) {
	t.Helper()
	for a, x := range names {
		for b, y := range names {
			if x < y && y < x+size {
				t.Errorf("the jump of %s at 0x%x covers %s at 0x%x", a, x, b, y)
			}
		}
	}
}

// TestRedirectMissing: a function that the new kernel lacks fails with ENOSYS.
func TestRedirectMissing(t *testing.T) {
	image := hostVDSO(t)
	names, err := functions(image)
	if err != nil {
		t.Fatal(err)
	}
	now := bytes.ReplaceAll(image, []byte("__vdso_getcpu\x00"), []byte("__vdso_gotcpu\x00"))
	if bytes.Equal(now, image) {
		t.Skip("no getcpu in this vdso")
	}
	old := bytes.Clone(image)
	if err := redirect(old, now, 0x1000, 0x2000, false); err != nil {
		t.Fatal(err)
	}
	at := names["__vdso_getcpu"]
	if want := []byte{0xb8, 0xda, 0xff, 0xff, 0xff, 0xc3}; !bytes.HasPrefix(old[at:], want) {
		t.Errorf("getcpu is % x, want % x", old[at:at+6], want)
	}
}

func TestRedirectRefuses(t *testing.T) {
	image := hostVDSO(t)
	for name, c := range map[string][2][]byte{
		"old is no ELF image": {make([]byte, 8192), image},
		"new is no ELF image": {bytes.Clone(image), make([]byte, 8192)},
		"old is empty":        {nil, image},
	} {
		if err := redirect(c[0], c[1], 0, 0, false); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// TestRedirectOutside: symbols of the image may point anywhere.
func TestRedirectOutside(t *testing.T) {
	image := hostVDSO(t)
	names, err := functions(image)
	if err != nil {
		t.Fatal(err)
	}
	value := binary.LittleEndian.AppendUint64(nil, names["__vdso_clock_gettime"])
	for _, wild := range []uint64{uint64(len(image)) - 1, uint64(len(image)), 1 << 63, ^uint64(0) - 5, ^uint64(0)} {
		old := bytes.ReplaceAll(image, value, binary.LittleEndian.AppendUint64(nil, wild))
		if err := redirect(old, image, 0x1000, 0x2000, false); err == nil {
			t.Errorf("a function at 0x%x is taken", wild)
		}
	}
}

// FuzzRedirect: an image on disk may hold anything for a vdso.
func FuzzRedirect(f *testing.F) {
	maps, err := procfs.ReadMaps(os.Getpid())
	if err != nil {
		f.Fatal(err)
	}
	mem, err := tracer.OpenMemory(os.Getpid())
	if err != nil {
		f.Fatal(err)
	}
	var image []byte
	for _, m := range maps {
		if m.Path == "[vdso]" {
			image = make([]byte, m.End-m.Start)
			if err := errors.Join(mem.Read(m.Start, image), mem.Close()); err != nil {
				f.Fatal(err)
			}
		}
	}
	f.Add(image, true)
	f.Add(image, false)
	f.Fuzz(func(t *testing.T, old []byte, compat bool) {
		size := len(old)
		if err := redirect(old, image, 0x1000, 0x2000, compat); err == nil && len(old) != size {
			t.Error("the length has changed")
		}
	})
}
