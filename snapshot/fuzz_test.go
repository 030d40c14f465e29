package snapshot

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// FuzzOpen reads manifests that somebody made up: their checksum is right.
// Whatever is opened must be canonical and can be used without a panic; what is
// refused is refused with an error of the package.
func FuzzOpen(f *testing.F) {
	dir := filepath.Join(f.TempDir(), "job")
	writeSample(f, dir)
	data, err := os.ReadFile(filepath.Join(dir, manifestName))
	must(f)(err)
	f.Add(data)
	for _, cut := range []string{"\"threads\"", "\"stores\"", "\"descriptions\""} {
		f.Add(data[:bytes.Index(data, []byte(cut))])
	}
	f.Add([]byte(`{"format":{"major":1,"minor":0}}`))
	f.Add(bytes.ReplaceAll(data, []byte(`"0x`), []byte(`"0xf`)))
	small := storeManifest(0, Store{Name: "mm-1"})
	small.Format, small.ID = Format{FormatMajor, FormatMinor}, strings.Repeat("0", 32)
	data, err = encodeManifest(small)
	must(f)(err)
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		useManifest(t, dir, data)
		// Most mutations break the form. The same content in the right form gets further.
		m := new(Manifest)
		if json.Unmarshal(data, m) != nil {
			return
		}
		if data, err := encodeManifest(m); err == nil {
			useManifest(t, dir, data)
		}
	})
}

// useManifest opens an image with another manifest and, if that succeeds, uses
// all of it.
func useManifest(t *testing.T, dir string, data []byte) {
	t.Helper()
	must(t)(os.WriteFile(filepath.Join(dir, manifestName), data, 0o600))
	resign(t, dir)
	im, err := Open(dir)
	if err != nil {
		checkRefusal(t, err)
		return
	}
	defer im.Close()
	again, err := encodeManifest(im.Manifest)
	must(t)(err)
	if !bytes.Equal(data, again) {
		t.Fatal("an image that is not canonical was opened")
	}
	if err := im.Verify(); err != nil {
		checkRefusal(t, err)
	}
	for _, p := range im.Manifest.Processes {
		for _, thread := range p.Threads {
			if _, err := im.XState(thread.XState); err != nil {
				checkRefusal(t, err)
			}
		}
	}
}

// TestEveryNumber gives every number of a manifest extreme values.
func TestEveryNumber(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "job")
	writeSample(t, dir)
	data, err := os.ReadFile(filepath.Join(dir, manifestName))
	must(t)(err)
	numbers := regexp.MustCompile(`(?m)-?[0-9]+,?$`).FindAllIndex(data, -1)
	hexes := regexp.MustCompile(`"0x[0-9a-f]+"`).FindAllIndex(data, -1)
	try := func(at []int, values ...string) {
		for _, v := range values {
			if bytes.HasSuffix(data[at[0]:at[1]], []byte(",")) {
				v += ","
			}
			useManifest(t, dir, slices.Concat(data[:at[0]], []byte(v), data[at[1]:]))
		}
	}
	if len(numbers) < 150 || len(hexes) < 150 {
		t.Fatalf("%d numbers and %d hexadecimal strings", len(numbers), len(hexes))
	}
	for _, at := range numbers {
		try(at, "-1", "0", "4294967296", "9223372036854775807", "-9223372036854775808", "18446744073709551615")
	}
	for _, at := range hexes {
		try(at, `"0x0"`, `"0x7fffffffffff"`, `"0x7ffffffffffff000"`, `"0xfffffffffffff000"`, `"0xffffffffffffffff"`)
	}
}

// checkRefusal checks that an image was refused for what it is.
func checkRefusal(t *testing.T, err error) {
	t.Helper()
	_, damaged := errors.AsType[*CorruptError](err)
	_, version := errors.AsType[*VersionError](err)
	if !damaged && !version {
		t.Fatalf("error of type %T: %v", err, err)
	}
}

// FuzzMap reads page maps that somebody made up. Records that are accepted are
// in order, inside the memory and the page file, and encode to the same bytes.
func FuzzMap(f *testing.F) {
	dir := filepath.Join(f.TempDir(), "job")
	writeSample(f, dir)
	for name, size := range map[string]int64{"mm-1": 2 * PageSize, "shm-1": PageSize, "shm-2": 0} {
		data, err := os.ReadFile(filepath.Join(dir, name+mapSuffix))
		must(f)(err)
		f.Add(data, size)
	}
	root := sampleRoot()
	ranges := (&Manifest{Processes: []Process{root}}).storeRanges("mm-1")
	f.Fuzz(func(t *testing.T, data []byte, size int64) {
		p := mapParser{file: "mm-1.map", ranges: ranges, size: size, based: true}
		records, err := p.parse(bytes.NewReader(data), len(data)/recordSize)
		if err != nil {
			checkRefusal(t, err)
			return
		}
		var again []byte
		end, offset := uint64(0), int64(0)
		for _, r := range records {
			var b [recordSize]byte
			r.put(&b)
			again = append(again, b[:]...)
			if r.Addr < end || !insideVMAs(&root, r.Addr, r.Len()) {
				t.Fatalf("record %+v after %#x", r, end)
			}
			if !r.Zero && !r.Base && (r.Offset != offset || r.Stored != r.Pages*PageSize || r.Pages > maxRecordPages) {
				t.Fatalf("record %+v, the data before it ends at %d", r, offset)
			}
			end = r.Addr + r.Len()
			offset += int64(r.Stored)
		}
		if offset != size {
			t.Fatalf("the records use %d of %d bytes", offset, size)
		}
		if !bytes.Equal(data, again) {
			t.Fatal("the records do not encode to the same bytes")
		}
	})
}

// insideVMAs says, page by page, whether memory belongs to a process.
func insideVMAs(p *Process, addr, n uint64) bool {
	for end := addr + n; addr < end; addr += PageSize {
		found := false
		for _, a := range p.VMAs {
			found = found || (addr >= uint64(a.Start) && addr < uint64(a.End))
		}
		if !found {
			return false
		}
	}
	return true
}

// TestMapRefuses shows what is wrong with single records of a page map.
func TestMapRefuses(t *testing.T) {
	put := func(records ...Record) []byte {
		var out []byte
		for _, r := range records {
			var b [recordSize]byte
			r.put(&b)
			out = append(out, b[:]...)
		}
		return out
	}
	set := func(data []byte, i int, b byte) []byte { data[i] = b; return data }
	data := Record{Addr: 0x1000, Pages: 1, Stored: PageSize}
	next := Record{Addr: 0x2000, Offset: PageSize, Pages: 1, Stored: PageSize}
	zero := Record{Addr: 0x2000, Pages: 9, Zero: true}
	for _, c := range []struct {
		name   string
		data   []byte
		size   int64
		offset int64
		want   string
	}{
		{"codec", set(put(data), 28, 1), PageSize, 0, "codec"},
		{"flag", set(put(data), 29, 4), PageSize, 0, "flag"},
		{"base without one", put(Record{Addr: 0x1000, Pages: 1, Base: true}), 0, 0, "no base"},
		{"flag beside zero", set(put(data, zero), 61, 3), PageSize, 32, "flag"},
		{"reserved", set(put(data), 31, 1), PageSize, 0, "reserved field"},
		{"alignment", set(put(data), 0, 1), PageSize, 0, "page-aligned"},
		{"no pages", put(Record{Addr: 0x1000}), 0, 0, "no pages"},
		{"overlap", put(zero, Record{Addr: 0xa000, Pages: 1, Stored: PageSize}), PageSize, 32, "not above"},
		{"order", put(next, data), 2 * PageSize, 0, "does not begin"},
		{"descending", put(zero, data), PageSize, 32, "not above"},
		{"below the memory", put(Record{Pages: 1, Zero: true}), 0, 0, "outside"},
		{"above the memory", put(Record{Addr: 0x10000, Pages: 1, Zero: true}), 0, 0, "outside"},
		{"across the end", put(Record{Addr: 0xf000, Pages: 2, Zero: true}), 0, 0, "outside"},
		{"wraps", put(Record{Addr: ^uint64(0) &^ 0xfff, Pages: 2, Zero: true}), 0, 0, "outside"},
		{"zero with data", put(Record{Addr: 0x1000, Pages: 1, Stored: PageSize, Zero: true}), PageSize, 0, "stores data"},
		{"zero with checksum", put(Record{Addr: 0x1000, Pages: 1, CRC: 1, Zero: true}), 0, 0, "stores data"},
		{"zero with offset", put(Record{Addr: 0x1000, Pages: 1, Offset: 1, Zero: true}), 0, 0, "stores data"},
		{"stored size", put(Record{Addr: 0x1000, Pages: 2, Stored: PageSize}), PageSize, 0, "stored size"},
		{"hole in the data", put(data, Record{Addr: 0x2000, Offset: 2 * PageSize, Pages: 1, Stored: PageSize}), 3 * PageSize, 32, "does not begin"},
		{"same data twice", put(data, Record{Addr: 0x2000, Pages: 1, Stored: PageSize}), PageSize, 32, "does not begin"},
		{"past the end", put(data, next), PageSize, 32, "past the end"},
		{"unused data", put(data, next), 3 * PageSize, 64, "there are 12288"},
		{"odd length", append(put(data), 0), PageSize, 32, "more than"},
	} {
		p := mapParser{file: "mm-1.map", ranges: []Range{{0x1000, 0x10000}}, size: c.size}
		_, err := p.parse(bytes.NewReader(c.data), len(c.data)/recordSize)
		e, ok := errors.AsType[*CorruptError](err)
		if !ok || e.Offset != c.offset || e.File != "mm-1.map" || !strings.Contains(e.Reason, c.want) {
			t.Errorf("%s: %v, want %q at %d", c.name, err, c.want, c.offset)
		}
	}
	p := mapParser{file: "mm-1.map", ranges: []Range{{0, 1 << 40}}, size: 257 * PageSize}
	big := put(Record{Pages: 257, Stored: 257 * PageSize})
	if _, err := p.parse(bytes.NewReader(big), 1); err == nil || !strings.Contains(err.Error(), "too many pages") {
		t.Errorf("a record of 257 pages: %v", err)
	}
	if _, err := (&mapParser{}).parse(bytes.NewReader(nil), 1); err == nil || !strings.Contains(err.Error(), "too early") {
		t.Errorf("a map that is cut: %v", err)
	}
}
