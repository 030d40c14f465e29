package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestRoundTrip(t *testing.T) {
	ok := must(t)
	dir := filepath.Join(t.TempDir(), "job")
	want := writeSample(t, dir)
	im, err := Open(dir)
	ok(err)
	defer im.Close()
	ok(im.Verify())
	// The writer's own copy must be as the caller made it, but for what Commit fills in.
	plain := sampleManifest()
	plain.Format, plain.ID, plain.XState, plain.Stores = want.Format, want.ID, want.XState, want.Stores
	for i := range plain.Processes {
		for j := range plain.Processes[i].Threads {
			plain.Processes[i].Threads[j].XState = want.Processes[i].Threads[j].XState
		}
	}
	for name, m := range map[string]*Manifest{"written": want, "read": im.Manifest} {
		if diff := cmp.Diff(plain, m, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s manifest (-want +have):\n%s", name, diff)
		}
	}
	if im.Dir() != dir {
		t.Errorf("Dir is %s, want %s", im.Dir(), dir)
	}
	i := 0
	for _, p := range im.Manifest.Processes {
		for _, thread := range p.Threads {
			state, err := im.XState(thread.XState)
			ok(err)
			if !bytes.Equal(state, sampleState[i]) {
				t.Errorf("thread %d: the extended state differs", thread.TID)
			}
			i++
		}
	}
	f, err := im.SavedFile(sampleSHA256)
	ok(err)
	defer f.Close()
	content, err := io.ReadAll(f)
	ok(err)
	if !bytes.Equal(content, sampleFile) {
		t.Errorf("saved file: %q", content)
	}
	ok(im.VerifyFile(sampleSHA256))
	if _, err := im.SavedFile(strings.Repeat("0", 64)); err == nil {
		t.Error("a file that was not saved can be opened")
	}
	if _, err := im.XState(Extent{Offset: 1000, Size: 1 << 62}); err == nil {
		t.Error("an extended state out of range can be read")
	}
	if _, err := im.Store("mm-3"); err == nil {
		t.Error("a page store that does not exist can be opened")
	}
}

func TestStoreReader(t *testing.T) {
	ok := must(t)
	dir := filepath.Join(t.TempDir(), "job")
	writeSample(t, dir)
	im, err := Open(dir)
	ok(err)
	defer im.Close()
	s, err := im.Store("mm-1")
	ok(err)
	defer s.Close()
	want := []Record{
		{Addr: 0x400000, Pages: 1, Stored: PageSize},
		{Addr: 0x401000, Pages: 2, Zero: true},
		{Addr: 0x7fffffffe000, Offset: PageSize, Pages: 1, Stored: PageSize},
	}
	if diff := cmp.Diff(want, s.Records(), cmpopts.IgnoreFields(Record{}, "CRC")); diff != "" {
		t.Errorf("records (-want +have):\n%s", diff)
	}
	for i, content := range [][]byte{page(0x11), {}, page(0x22)} {
		data, err := s.ReadRecord(s.Records()[i], nil)
		ok(err)
		if !bytes.Equal(data, content) {
			t.Errorf("record %d: the content differs", i)
		}
		ok(s.VerifyRecord(s.Records()[i]))
	}
	if s.Path() != filepath.Join(dir, "mm-1.pages") || s.File() == nil {
		t.Errorf("path %q, file %v", s.Path(), s.File())
	}
	if _, err := s.ReadRecord(Record{Pages: 1, Stored: 1 << 40}, nil); err == nil {
		t.Error("a record that is not from the store can be read")
	}
	for name, records := range map[string]int{"mm-2": 0, "shm-2": 1} { // nothing; only zeros
		s, err := im.Store(name)
		ok(err)
		if len(s.Records()) != records || s.File() != nil || s.Path() != "" {
			t.Errorf("%s: %d records, file %v, path %q", name, len(s.Records()), s.File(), s.Path())
		}
		ok(s.Close())
	}
}

// checkCorrupt checks that err is a CorruptError that names one of the files.
func checkCorrupt(t *testing.T, what string, err error, files ...string) {
	t.Helper()
	e, ok := errors.AsType[*CorruptError](err)
	if !ok {
		t.Errorf("%s: error %v, want a CorruptError", what, err)
		return
	}
	for _, f := range files {
		if e.File == f {
			return
		}
	}
	t.Errorf("%s: %v names %s, want %v", what, err, e.File, files)
}

// suspects returns the files that an error may name when name is damaged:
// nobody can tell which side of the manifest's checksum is wrong.
func suspects(name string) []string {
	if name == checksumName {
		return []string{checksumName, manifestName}
	}
	return []string{name}
}

func TestEveryByteCounts(t *testing.T) {
	ok := must(t)
	dir := filepath.Join(t.TempDir(), "job")
	writeSample(t, dir)
	for _, name := range treeFiles(t, dir) {
		data, err := os.ReadFile(filepath.Join(dir, name))
		ok(err)
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY, 0)
		ok(err)
		step := 1
		if strings.HasSuffix(name, dataSuffix) || name == xstateName || testing.Short() {
			step = 37 // the content is uniform, or the test is to be quick
		}
		for i := 0; i < len(data); i += step {
			_, err := f.WriteAt([]byte{data[i] ^ 1<<(i%8)}, int64(i))
			ok(err)
			files := suspects(name)
			if name == checksumName && i >= 64 { // after the digits
				files = []string{checksumName}
			}
			checkCorrupt(t, fmt.Sprintf("%s, byte %d", name, i), openAndVerify(dir), files...)
			_, err = f.WriteAt(data[i:i+1], int64(i))
			ok(err)
		}
		ok(f.Close())
	}
	ok(openAndVerify(dir))
}

func TestEveryLengthCounts(t *testing.T) {
	ok := must(t)
	dir := filepath.Join(t.TempDir(), "job")
	writeSample(t, dir)
	for _, name := range treeFiles(t, dir) {
		path := filepath.Join(dir, name)
		data, err := os.ReadFile(path)
		ok(err)
		ok(os.WriteFile(path, append(bytes.Clone(data), 0), 0o600))
		checkCorrupt(t, name+" and one byte", openAndVerify(dir), suspects(name)...)
		step := max(1, len(data)/100)
		for n := len(data) - 1; n >= 0; n -= step {
			ok(os.Truncate(path, int64(n)))
			checkCorrupt(t, name+" cut", openAndVerify(dir), suspects(name)...)
		}
		ok(os.WriteFile(path, data, 0o600))
	}
	ok(openAndVerify(dir))
}

// TestMapChecksum makes a page map that only its checksum tells from a good one.
func TestMapChecksum(t *testing.T) {
	ok := must(t)
	dir := filepath.Join(t.TempDir(), "job")
	writeSample(t, dir)
	path := filepath.Join(dir, "mm-1.map")
	data, err := os.ReadFile(path)
	ok(err)
	data[recordSize+16]-- // the zero record now has one page less
	ok(os.WriteFile(path, data, 0o600))
	err = openAndVerify(dir)
	checkCorrupt(t, "one page less", err, "mm-1.map")
	if err == nil || !strings.Contains(err.Error(), "SHA-256") {
		t.Errorf("error %v", err)
	}
}

func TestMissingFiles(t *testing.T) {
	ok := must(t)
	dir := filepath.Join(t.TempDir(), "job")
	writeSample(t, dir)
	aside := filepath.Join(t.TempDir(), "aside")
	for _, name := range append(treeFiles(t, dir), filesName) {
		ok(os.Rename(filepath.Join(dir, name), aside))
		err := openAndVerify(dir)
		if name == manifestName {
			if !errors.Is(err, ErrNotImage) {
				t.Errorf("no manifest: %v, want ErrNotImage", err)
			}
		} else {
			checkCorrupt(t, "no "+name, err, name)
		}
		ok(os.Rename(aside, filepath.Join(dir, name)))
	}
	if err := openAndVerify(filepath.Join(dir, "nowhere")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
	if err := openAndVerify(filepath.Join(dir, manifestName)); err == nil {
		t.Error("a file can be opened as an image")
	}
}

func TestSwappedFiles(t *testing.T) {
	ok := must(t)
	pairs := [][2]string{
		{"mm-1.map", "shm-1.map"}, {"mm-1.pages", "shm-1.pages"}, {"shm-1.map", "shm-2.map"},
		{xstateName, "mm-1.map"}, {manifestName, checksumName},
	}
	for _, p := range pairs {
		dir := filepath.Join(t.TempDir(), "job")
		writeSample(t, dir)
		a, b, c := filepath.Join(dir, p[0]), filepath.Join(dir, p[1]), filepath.Join(dir, "c")
		ok(os.Rename(a, c))
		ok(os.Rename(b, a))
		ok(os.Rename(c, b))
		checkCorrupt(t, p[0]+" swapped with "+p[1], openAndVerify(dir), p[0], p[1])
	}
}

// TestLinks replaces files by links to the same content, inside and outside.
func TestLinks(t *testing.T) {
	ok := must(t)
	dir := filepath.Join(t.TempDir(), "job")
	writeSample(t, dir)
	outside := filepath.Join(t.TempDir(), "copy")
	for _, name := range append(treeFiles(t, dir), filesName) {
		path := filepath.Join(dir, name)
		ok(os.Rename(path, outside))
		ok(os.Symlink(outside, path))
		checkCorrupt(t, name+" as a link out of the image", openAndVerify(dir), name)
		ok(os.Remove(path))

		inside := filepath.Join(dir, "inside")
		ok(os.Rename(outside, inside))
		target, err := filepath.Rel(filepath.Dir(path), inside)
		ok(err)
		ok(os.Symlink(target, path))
		im, err := Open(dir)
		if err == nil { // not Verify, which would find the additional name first
			err = errors.Join(useAll(im), im.Close())
		}
		checkCorrupt(t, name+" as a link inside the image", err, name)
		ok(os.Remove(path))
		ok(os.Rename(inside, path))
	}
	ok(os.Remove(filepath.Join(dir, xstateName)))
	ok(os.Mkdir(filepath.Join(dir, xstateName), 0o700))
	checkCorrupt(t, "a directory for a file", openAndVerify(dir), xstateName)
}

// useAll uses every file of an image without looking for others.
func useAll(im *Image) error {
	for _, s := range im.Manifest.Stores {
		r, err := im.Store(s.Name)
		if err != nil {
			return err
		}
		for _, rec := range r.Records() {
			err = errors.Join(err, r.VerifyRecord(rec))
		}
		if err := errors.Join(err, r.Close()); err != nil {
			return err
		}
	}
	if _, err := im.XState(Extent{Size: 1}); err != nil {
		return err
	}
	return im.VerifyFile(sampleSHA256)
}

func TestUnexpectedFiles(t *testing.T) {
	ok := must(t)
	dir := filepath.Join(t.TempDir(), "job")
	writeSample(t, dir)
	for _, name := range []string{"extra", "mm-2.pages", "mm-9.map", "files/" + strings.Repeat("a", 64)} {
		ok(os.WriteFile(filepath.Join(dir, name), nil, 0o600))
		checkCorrupt(t, name, openAndVerify(dir), name)
		ok(os.Remove(filepath.Join(dir, name)))
	}
}

func TestVersion(t *testing.T) {
	ok := must(t)
	dir := filepath.Join(t.TempDir(), "job")
	writeSample(t, dir)
	path := filepath.Join(dir, manifestName)
	data, err := os.ReadFile(path)
	ok(err)
	for _, c := range []struct{ from, to string }{
		{`"major": 1`, `"major": 2`}, {`"major": 1`, `"major": 0`},
		{`"minor": 0`, `"minor": 1`}, {`"minor": 0`, `"minor": -1`},
		{`"minor": 0`, `"minor": 7, "patch": 1`}, // an unknown member of a later version
	} {
		ok(os.WriteFile(path, bytes.Replace(data, []byte(c.from), []byte(c.to), 1), 0o600))
		resign(t, dir)
		if err, found := errors.AsType[*VersionError](openAndVerify(dir)); !found {
			t.Errorf("%s: no VersionError but %v", c.to, err)
		}
	}
}

// TestCanonical changes the spelling, not the meaning, of a manifest.
func TestCanonical(t *testing.T) {
	ok := must(t)
	dir := filepath.Join(t.TempDir(), "job")
	writeSample(t, dir)
	path := filepath.Join(dir, manifestName)
	data, err := os.ReadFile(path)
	ok(err)
	for _, c := range []struct{ name, from, to string }{
		{"unknown member", `"tool": "test",`, `"tool": "test", "more": 1,`},
		{"unknown member of a detail", `"stream": 2`, `"stream": 2, "more": 1`},
		{"duplicate member", `"tool": "test",`, "\"tool\": \"test\",\n  \"tool\": \"test\","},
		{"duplicate register", `"rip": "0x400010",`, `"rip": "0x1", "rip": "0x400010",`},
		{"case-folded member", `"tool": "test"`, `"Tool": "test"`},
		{"missing member", "  \"tool\": \"test\",\n", ""},
		{"white space", `"tool": "test"`, `"tool":  "test"`},
		{"null", `"groups": []`, `"groups": null`},
		{"explicit default", `"stopped": 19`, `"stopped": 19, "compat": false`},
		{"escape", `"tool": "test"`, `"tool": "t\u0065st"`},
		{"leading zero", `"xcr0": "0x7"`, `"xcr0": "0x07"`},
		{"upper case", `"rip": "0x400010"`, `"rip": "0X400010"`},
		{"number for a string", `"xcr0": "0x7"`, `"xcr0": 7`},
		{"fraction", `"minor": 3`, `"minor": 3.0`},
		{"needless byte escape", `"tool": "test"`, `"tool": "` + "\U0010f8c3\U0010f8a9" + `"`},
		{"not UTF-8", `"tool": "test"`, "\"tool\": \"\xff\""},
		{"replacement character", `"tool": "test"`, `"tool": "\ufffd"`},
		{"lone surrogate", `"tool": "test"`, `"tool": "\udc80"`},
		{"after the end", "\n}\n", "\n}\n{}"},
		{"no newline", "\n}\n", "\n}"},
		{"other time zone", `05.000000678Z`, `05.000000678+00:00`},
		{"no version", `"format"`, `"formal"`},
		{"not an object", string(data), "[]\n"},
		{"empty", string(data), ""},
		{"unknown kind", `"kind": "eventfd"`, `"kind": "eventfdx"`},
		{"null description", `"semaphore": true`, `"semaphore": null`},
	} {
		changed := bytes.Replace(data, []byte(c.from), []byte(c.to), 1)
		if bytes.Equal(changed, data) {
			t.Fatalf("%s: the sample has no %s", c.name, c.from)
		}
		ok(os.WriteFile(path, changed, 0o600))
		resign(t, dir)
		checkCorrupt(t, c.name, openAndVerify(dir), manifestName)
	}
}
