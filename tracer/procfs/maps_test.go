package procfs

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"
)

// render is the inverse of parseMapping.
func render(m Mapping) string {
	perm := []byte("---p")
	for i, on := range []bool{m.Read, m.Write, m.Exec, m.Shared} {
		if on {
			perm[i] = "rwxs"[i]
		}
	}
	line := fmt.Sprintf("%08x-%08x %s %08x %02x:%02x %d ", m.Start, m.End, perm, m.Offset,
		unix.Major(m.Dev), unix.Minor(m.Dev), m.Ino)
	if m.Path == "" {
		return line
	}
	line = fmt.Sprintf("%-73s%s", line, strings.ReplaceAll(m.Path, "\n", `\012`))
	if m.Deleted {
		line += deletedSuffix
	}
	return line
}

func TestMapsRoundTrip(t *testing.T) {
	data := string(fixture(t, "maps"))
	maps := must[[]Mapping](t)(parseMaps([]byte(data)))
	var b strings.Builder
	for _, m := range maps {
		b.WriteString(render(m) + "\n")
	}
	equal(t, strings.Split(b.String(), "\n"), strings.Split(data, "\n"))
	if len(maps) != 36 {
		t.Errorf("%d areas", len(maps))
	}
}

func TestMapsNames(t *testing.T) {
	type name struct {
		Path    string
		Deleted bool
	}
	cases := map[string]name{
		"":                           {},
		"[heap]":                     {"[heap]", false},
		"[anon:my heap (deleted) x]": {"[anon:my heap (deleted) x]", false},
		"[anon_shmem:q]":             {"[anon_shmem:q]", false},
		"/dev/zero (deleted)":        {"/dev/zero", true},
		"/memfd:a b (deleted)":       {"/memfd:a b", true},
		"/SYSV00000000 (deleted)":    {"/SYSV00000000", true},
		"/[aio] (deleted)":           {"/[aio]", true},
		"anon_inode:[perf_event]":    {"anon_inode:[perf_event]", false},
		`/a\012b`:                    {"/a\nb", false},
		`/a\040b\134c\\d`:            {`/a\040b\134c\\d`, false}, // the file is really called so
		"/a b  c ":                   {"/a b  c ", false},
		"/x (deleted) (deleted)":     {"/x (deleted)", true},
		"/x (deleted)/y":             {"/x (deleted)/y", false},
		"/dev/\xff\xfe":              {"/dev/\xff\xfe", false},
		"/tab\there":                 {"/tab\there", false},
	}
	for text, want := range cases {
		line := fmt.Sprintf("%-73s%s\n", "7f2d312a3000-7f2d312a4000 rw-s 00000000 00:01 1045", text)
		maps := must[[]Mapping](t)(parseMaps([]byte(line)))
		equal(t, name{maps[0].Path, maps[0].Deleted}, want)
	}
}

func TestMapsHuge(t *testing.T) {
	maps := must[[]Mapping](t)(parseMaps([]byte("0-ffffffffffffffff rwxs fffffffffffff000 fff:fffff 18446744073709551615\n")))
	equal(t, maps, []Mapping{{Start: 0, End: 1<<64 - 1, Offset: 1<<64 - 4096, Read: true, Write: true,
		Exec: true, Shared: true, Dev: unix.Mkdev(0xfff, 0xfffff), Ino: 1<<64 - 1}})
}

var badMaps = map[string]int{
	"\n":                                     1,
	"rubbish":                                1,
	"7f2d312a3000 rw-s 00000000 00:01 1045 ": 1,
	"2000-1000 rw-p 00000000 00:00 0 ":       1,
	"1000-1000 rw-p 00000000 00:00 0 ":       1,
	"10000000000000000-20000000000000000 rw-p 0 00:00 0":                    1,
	"1000-2000 rw-p 0 00:00 0\n1000-2000 rwxq 0 00:00 0\n":                  2,
	"1000-2000 rw-p 0 00:00 0\n1000-2000 rwx 0 00:00 0\n":                   2,
	"1000-2000 rw-p xyz 00:00 0":                                            1,
	"1000-2000 rw-p 0 0000 0":                                               1,
	"1000-2000 rw-p 0 00: 0":                                                1,
	"1000-2000 rw-p 0 00:100000000 0":                                       1,
	"1000-2000 rw-p 0 00:00 -1":                                             1,
	"1000-2000 rw-p 0 00:00":                                                1,
	"1000-2000 rw-p 0 00:00 0\n\n":                                          2,
	"1000-2000 rw-p 0 00:00 0\n3000-4000 rw-p 0 00:00 18446744073709551616": 2,
}

func TestMapsRefuses(t *testing.T) { refuses(t, parseMaps, badMaps) }

func FuzzMaps(f *testing.F) {
	fuzz(f, func(data []byte) ([]Mapping, error) {
		maps, err := parseMaps(data)
		for _, m := range maps {
			if m.Start >= m.End {
				f.Errorf("empty area %+v", m)
			}
		}
		if err == nil {
			_, err = parseSmaps(data)
		} else if _, err2 := parseSmaps(data); err2 != nil {
			err = err2
		}
		return maps, err
	}, string(fixture(f, "maps")), string(fixture(f, "smaps")), "1000-2000 rw-p 0 00:00 0 x", "Rss: 1 kB")
}

func TestSmaps(t *testing.T) {
	smaps := must[[]Mapping](t)(parseSmaps(fixture(t, "smaps")))
	maps := must[[]Mapping](t)(parseMaps(fixture(t, "maps")))
	opt := cmpopts.IgnoreFields(Mapping{}, "Flags", "RSS", "Anonymous", "Swap", "SharedClean", "SharedDirty", "KernelPageSize")
	if d := cmp.Diff(maps, smaps, opt); d != "" {
		t.Errorf("smaps and maps differ (-maps +smaps):\n%s", d)
	}
	for _, m := range smaps {
		if m.KernelPageSize != 4096 || m.Flags == "" {
			t.Errorf("%+v", m)
		}
	}
	equal(t, smaps[5], Mapping{Start: 0x55bc860a5000, End: 0x55bc860c6000, Read: true, Write: true,
		Path: "[heap]", Flags: "rd wr mr mw me ac", RSS: 8192, Anonymous: 8192, KernelPageSize: 4096})
}

func TestSmapsValues(t *testing.T) {
	const head = "7f00-8f00 rw-p 00000000 00:00 0 \n"
	got := must[[]Mapping](t)(parseSmaps([]byte(head +
		"Rss:   18014398509481983 kB\nPss: 1 kB\nSwapPss: 7 kB\nSwap:\t12 kB\nKernelPageSize: 2048 kB\n" +
		"Anonymous: 3 kB\nAnonHugePages: 9 kB\nFuture key: whatever\nProtectionKey: 0\nVmFlags: rd ht gd \n")))
	equal(t, got, []Mapping{{Start: 0x7f00, End: 0x8f00, Read: true, Write: true, Flags: "rd ht gd",
		RSS: 18014398509481983 << 10, Anonymous: 3 << 10, Swap: 12 << 10, KernelPageSize: 2 << 20}})
	refuses(t, parseSmaps, map[string]int{
		"Rss: 1 kB\n":                         1,
		head + "Rss: x kB\n":                  2,
		head + "Rss: 18014398509481984 kB\n":  2,
		head + "Swap: 1 MB\n":                 2,
		head + "Swap:\n":                      2,
		head + "Rss 1 kB\n":                   2,
		head + "\n":                           2,
		head + "Rss: 1 kB\nrubbish here: 1\n": 3,
		head + "KernelPageSize: 4 kB 4\n":     2,
	})
}

func TestFlags(t *testing.T) {
	f := Flags("rd wr gd")
	for name, want := range map[string]bool{"rd": true, "wr": true, "gd": true, "d ": false, "ac": false, "": false, "rd wr": false} {
		if f.Has(name) != want {
			t.Errorf("Has(%q) = %v", name, !want)
		}
	}
	if Flags("").Has("rd") {
		t.Error("no flags have one")
	}
}

// TestMapsLive maps a file with an awkward name and looks for it.
func TestMapsLive(t *testing.T) {
	for _, name := range []string{"plain", "a b\nc\\d", `lit\040eral\134`, "paren) (deleted) x"} {
		path := t.TempDir() + "/" + name
		f := must[*os.File](t)(os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600))
		defer f.Close()
		if err := f.Truncate(8192); err != nil {
			t.Fatal(err)
		}
		mem := must[[]byte](t)(unix.Mmap(int(f.Fd()), 4096, 4096, unix.PROT_READ, unix.MAP_SHARED))
		defer unix.Munmap(mem)
		var st unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &st); err != nil {
			t.Fatal(err)
		}
		want := Mapping{Offset: 4096, Read: true, Shared: true, Dev: st.Dev, Ino: st.Ino, Path: path}
		opt := cmpopts.IgnoreFields(Mapping{}, "Start", "End")
		if d := cmp.Diff([]Mapping{want}, find(t, ReadMaps, st.Ino), opt); d != "" {
			t.Error(d)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		want.Deleted = true
		opt = cmpopts.IgnoreFields(Mapping{}, "Start", "End", "Flags", "RSS", "KernelPageSize")
		if d := cmp.Diff([]Mapping{want}, find(t, ReadSmaps, st.Ino), opt); d != "" {
			t.Error(d)
		}
	}
}

// find lists the areas of this process with an inode.
func find(t *testing.T, read func(int) ([]Mapping, error), ino uint64) (out []Mapping) {
	t.Helper()
	for _, m := range must[[]Mapping](t)(read(os.Getpid())) {
		if m.Ino == ino {
			out = append(out, m)
		}
	}
	return out
}

// synthetic makes maps or smaps of n areas.
func synthetic(n int, tail string) []byte {
	var b strings.Builder
	for i := range n {
		start := 0x7f0000000000 + uint64(i)*0x3000
		path := fmt.Sprintf("/usr/lib/x86_64-linux-gnu/lib%d.so", i/5)
		b.WriteString(render(Mapping{Start: start, End: start + 0x2000, Read: true, Dev: 0xfe00, Ino: uint64(i), Path: path}))
		b.WriteString("\n" + tail)
	}
	return []byte(b.String())
}

func BenchmarkMaps20000(b *testing.B) {
	data := synthetic(20000, "")
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parseMaps(data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSmaps20000(b *testing.B) {
	_, tail, _ := strings.Cut(string(fixture(b, "smaps")), "\n")
	i := strings.Index(tail, "VmFlags")
	j := strings.IndexByte(tail[i:], '\n')
	data := synthetic(20000, tail[:i+j+1])
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parseSmaps(data); err != nil {
			b.Fatal(err)
		}
	}
}
