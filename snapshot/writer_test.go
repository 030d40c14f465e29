package snapshot

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

const mib = 1 << 20

// storeManifest returns the smallest manifest with one shared memory of a size.
func storeManifest(size Hex, stores ...Store) *Manifest {
	m := &Manifest{
		Root: 1, Host: Host{Arch: "amd64", PageSize: PageSize}, Stores: stores,
		Files:     []File{{Path: "/a"}},
		Processes: []Process{{PID: 1, Cwd: "/", MM: MM{Store: "mm-1"}, Threads: []Thread{{TID: 1}}}},
	}
	for i, s := range stores {
		if s.Name != "mm-1" {
			m.Shared = append(m.Shared, Shared{ID: len(m.Shared), Kind: "anon", Size: size, Store: stores[i].Name})
		}
	}
	return m
}

// piece is one call of StoreWriter.Write.
type piece struct {
	addr uint64
	data []byte
}

// writeStore writes the pieces into an image of their own and returns what its
// reader finds: the records and the memory, pages by address.
func writeStore(t *testing.T, pieces []piece) ([]Record, map[uint64]byte) {
	t.Helper()
	ok := must(t)
	dir := filepath.Join(t.TempDir(), "job")
	w, err := Create(dir)
	ok(err)
	defer w.Abort()
	mm, err := w.Store("mm-1")
	ok(err)
	empty, err := mm.Close()
	ok(err)
	s, err := w.Store("shm-1")
	ok(err)
	for _, p := range pieces {
		ok(s.Write(p.addr, p.data))
	}
	entry, err := s.Close()
	ok(err)
	_, err = w.Commit(storeManifest(1<<40, empty, entry))
	ok(err)
	im, err := Open(dir)
	ok(err)
	defer im.Close()
	ok(im.Verify())
	r, err := im.Store("shm-1")
	ok(err)
	defer r.Close()
	memory := map[uint64]byte{}
	for _, rec := range r.Records() {
		data, err := r.ReadRecord(rec, nil)
		ok(err)
		for i := range rec.Pages {
			b := byte(0)
			if !rec.Zero {
				b = data[i*PageSize]
			}
			memory[rec.Addr+uint64(i)*PageSize] = b
		}
	}
	return r.Records(), memory
}

// pages returns pages that are filled with the bytes of s; '0' stands for zeros.
func pages(s string) []byte {
	var out []byte
	for _, c := range []byte(s) {
		if c == '0' {
			c = 0
		}
		out = append(out, page(c)...)
	}
	return out
}

func TestStoreWriter(t *testing.T) {
	type rec struct {
		addr  uint64
		pages int
		zero  bool
	}
	big := bytes.Repeat([]byte{7}, mib)
	for _, c := range []struct {
		name   string
		pieces []piece
		want   []rec
	}{
		{"nothing", nil, nil},
		{"empty piece", []piece{{0x1000, nil}}, nil},
		{"one page", []piece{{0x1000, pages("a")}}, []rec{{0x1000, 1, false}}},
		{"runs", []piece{{0, pages("ab00c0")}}, []rec{{0, 2, false}, {0x2000, 2, true}, {0x4000, 1, false}, {0x5000, 1, true}}},
		{"small pieces are joined", []piece{{0, pages("a")}, {0x1000, pages("b")}, {0x2000, pages("c")}}, []rec{{0, 3, false}}},
		{"zero pieces are joined", []piece{{0, pages("a0")}, {0x2000, pages("00")}, {0x4000, pages("0a")}}, []rec{{0, 1, false}, {0x1000, 4, true}, {0x5000, 1, false}}},
		{"gaps are kept", []piece{{0, pages("a0")}, {0x4000, pages("0a")}, {0x8000, pages("a")}}, []rec{{0, 1, false}, {0x1000, 1, true}, {0x4000, 1, true}, {0x5000, 1, false}, {0x8000, 1, false}}},
		{"cut at 1 MiB", []piece{{0, append(big, big[:0x3000]...)}}, []rec{{0, 256, false}, {0x100000, 3, false}}},
		{"cut at 1 MiB across pieces", []piece{{0, pages("a")}, {0x1000, big}}, []rec{{0, 256, false}, {0x100000, 1, false}}},
		{"zeros are not cut", []piece{{0, make([]byte, 3*mib)}}, []rec{{0, 768, true}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			records, memory := writeStore(t, c.pieces)
			var have []rec
			offset := int64(0)
			for _, r := range records {
				have = append(have, rec{r.Addr, r.Pages, r.Zero})
				if !r.Zero && r.Offset != offset {
					t.Errorf("record at %#x: data at %d, want %d", r.Addr, r.Offset, offset)
				}
				offset += int64(r.Stored)
			}
			if diff := cmp.Diff(c.want, have, cmp.AllowUnexported(rec{})); diff != "" {
				t.Errorf("records (-want +have):\n%s", diff)
			}
			checkMemory(t, c.pieces, memory)
		})
	}
}

// checkMemory compares memory with the pieces it was written from.
func checkMemory(t *testing.T, pieces []piece, memory map[uint64]byte) {
	t.Helper()
	n := 0
	for _, p := range pieces {
		for i := 0; i < len(p.data); i += PageSize {
			if b, ok := memory[p.addr+uint64(i)]; !ok || b != p.data[i] {
				t.Errorf("page at %#x holds %d (%v), want %d", p.addr+uint64(i), b, ok, p.data[i])
			}
			n++
		}
	}
	if n != len(memory) {
		t.Errorf("%d pages, want %d", len(memory), n)
	}
}

// TestStoreWriterRandom writes the same kind of memory in random pieces.
func TestStoreWriterRandom(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		var pieces []piece
		addr := uint64(0)
		for range 1 + rng.IntN(20) {
			var data []byte
			for range rng.IntN(5) {
				b := byte(rng.IntN(3))
				data = append(data, bytes.Repeat(page(b), 1+rng.IntN(1<<rng.IntN(10)))...)
			}
			pieces = append(pieces, piece{addr, data})
			addr += uint64(len(data)) + PageSize*uint64(rng.IntN(2))
		}
		_, memory := writeStore(t, pieces)
		checkMemory(t, pieces, memory)
	}
}

func TestIsZeroPage(t *testing.T) {
	p := make([]byte, PageSize)
	if !isZeroPage(p) {
		t.Error("a page of zeros is not seen as one")
	}
	for i := range p {
		p[i] = 1
		if isZeroPage(p) {
			t.Fatalf("byte %d is not looked at", i)
		}
		p[i] = 0
	}
}

func TestStoreWriterRefuses(t *testing.T) {
	ok := must(t)
	for _, c := range []struct {
		name   string
		pieces []piece
		want   string
	}{
		{"half a page", []piece{{0, make([]byte, 100)}}, "whole pages"},
		{"odd address", []piece{{8, pages("a")}}, "whole pages"},
		{"going back", []piece{{0x2000, pages("a")}, {0x1000, pages("a")}}, "must ascend"},
		{"overlap", []piece{{0x1000, pages("ab")}, {0x2000, pages("b")}}, "must ascend"},
		{"too high", []piece{{1 << 63, pages("a")}}, "too high"},
		{"wraps", []piece{{^uint64(0) &^ 0xfff, pages("ab")}}, "too high"},
	} {
		w, err := Create(filepath.Join(t.TempDir(), "job"))
		ok(err)
		s, err := w.Store("mm-1")
		ok(err)
		for _, p := range c.pieces {
			err = s.Write(p.addr, p.data)
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		if _, err := s.Close(); err == nil {
			t.Errorf("%s: the error is forgotten", c.name)
		}
		if _, err := w.Commit(storeManifest(0)); err == nil {
			t.Errorf("%s: the image can be committed", c.name)
		}
		ok(w.Abort())
	}
}

func TestStoreNames(t *testing.T) {
	ok := must(t)
	w, err := Create(filepath.Join(t.TempDir(), "job"))
	ok(err)
	defer w.Abort()
	for _, name := range []string{"", "mm", "mm-", "mm-x", "../mm-1", "mm-1/..", "xmm-1", "shm-1 ", "mm--1", "mm-12345678901", "manifest.json"} {
		if _, err := w.Store(name); err == nil {
			t.Errorf("%q is accepted", name)
		}
	}
	_, err = w.Store("shm-7")
	ok(err)
	if _, err := w.Store("shm-7"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("the same store twice: %v", err)
	}
}

// TestCreateRefuses checks that nothing that exists is touched.
func TestCreateRefuses(t *testing.T) {
	ok := must(t)
	parent := t.TempDir()
	ok(os.Mkdir(filepath.Join(parent, "empty"), 0o700))
	ok(os.WriteFile(filepath.Join(parent, "file"), nil, 0o600))
	ok(os.Symlink("nowhere", filepath.Join(parent, "link")))
	writeSample(t, filepath.Join(parent, "image"))
	for _, name := range []string{"empty", "file", "link", "image", "image/..", "."} {
		if _, err := Create(filepath.Join(parent, name)); !errors.Is(err, fs.ErrExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"no/job", "file/job"} {
		if _, err := Create(filepath.Join(parent, name)); err == nil || errors.Is(err, fs.ErrExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(parent, ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestCreateInUnwritableFolder(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may write everywhere")
	}
	parent := t.TempDir()
	must(t)(os.Chmod(parent, 0o500))
	if _, err := Create(filepath.Join(parent, "job")); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("error %v", err)
	}
}

// TestAppearsWhileWriting makes the final name during the writing.
func TestAppearsWhileWriting(t *testing.T) {
	ok := must(t)
	for _, kind := range []string{"file", "link", "empty", "image"} {
		parent := t.TempDir()
		dir := filepath.Join(parent, "job")
		w, err := Create(dir)
		ok(err)
		m := sampleManifest()
		fillSample(t, w, m)
		switch kind {
		case "file":
			ok(os.WriteFile(dir, nil, 0o600))
		case "link":
			ok(os.Symlink(t.TempDir(), dir))
		case "empty":
			ok(os.Mkdir(dir, 0o700))
		case "image":
			writeSample(t, dir)
		}
		if _, err := w.Commit(m); !errors.Is(err, fs.ErrExist) {
			t.Errorf("%s: %v", kind, err)
		}
		ok(w.Abort())
		if names, err := os.ReadDir(parent); err != nil || len(names) != 1 {
			t.Errorf("%s: %v %v", kind, names, err)
		}
		if kind == "image" {
			ok(openAndVerify(dir))
		}
	}
}

// TestRenameKeepsOthers shows what the last step does to a name that appears
// after it was looked for.
func TestRenameKeepsOthers(t *testing.T) {
	ok := must(t)
	parent, err := os.OpenRoot(t.TempDir())
	ok(err)
	defer parent.Close()
	ok(parent.Mkdir("temp", 0o700))
	ok(parent.WriteFile("file", nil, 0o600))
	ok(parent.MkdirAll("full/x", 0o700))
	ok(parent.Symlink("full", "link"))
	for _, name := range []string{"file", "full", "link"} {
		if err := parent.Rename("temp", name); err == nil {
			t.Errorf("%s was replaced", name)
		}
	}
}

func TestModesAndAbort(t *testing.T) {
	ok := must(t)
	parent := t.TempDir()
	w, err := Create(filepath.Join(parent, "job"))
	ok(err)
	fillSample(t, w, sampleManifest())
	open, err := w.Store("mm-77") // stays open
	ok(err)
	ok(open.Write(0, pages("a")))
	temps, err := filepath.Glob(filepath.Join(parent, ".job.*.part"))
	ok(err)
	if len(temps) != 1 {
		t.Fatalf("temporary directories: %v", temps)
	}
	ok(filepath.WalkDir(temps[0], func(path string, d fs.DirEntry, err error) error {
		ok(err)
		info, err := d.Info()
		ok(err)
		want := fs.FileMode(0o600)
		if d.IsDir() {
			want = 0o700 | fs.ModeDir
		}
		if info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", path, info.Mode(), want)
		}
		return nil
	}))
	if _, err := Open(temps[0]); !errors.Is(err, ErrNotImage) {
		t.Errorf("an image without its manifest: %v", err)
	}
	ok(w.Abort())
	ok(w.Abort())
	if names, err := os.ReadDir(parent); err != nil || len(names) != 0 {
		t.Errorf("after Abort: %v %v", names, err)
	}
	if _, err := w.Store("mm-2"); err == nil {
		t.Error("a store can be made after Abort")
	}
	if _, err := w.Commit(sampleManifest()); err == nil {
		t.Error("an image can be committed after Abort")
	}
}

// TestCommitRefuses gives Commit manifests that are not of what was written.
func TestCommitRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(w *Writer, m *Manifest)
		want   string
	}{
		{"a store is missing", func(_ *Writer, m *Manifest) { m.Stores = m.Stores[1:] }, "page stores"},
		{"a store differs", func(_ *Writer, m *Manifest) { m.Stores[0].Records++ }, "is not what was written"},
		{"a store is open", func(w *Writer, _ *Manifest) { _, _ = w.Store("mm-9") }, "not closed"},
		{"a file was not saved", func(_ *Writer, m *Manifest) { m.Files[0].Saved = true }, "was not written"},
		{"a saved file is unknown", func(_ *Writer, m *Manifest) { m.Files[1].Saved = false }, "does not tell of it"},
		{"pages outside the mappings", func(_ *Writer, m *Manifest) { m.Processes[0].VMAs = m.Processes[0].VMAs[1:] }, "outside the memory"},
		{"pages beyond the object", func(_ *Writer, m *Manifest) { m.Shared[0].Size = 4096 }, "outside the memory"},
		{"the manifest is wrong", func(_ *Writer, m *Manifest) { m.Root = 5 }, "the manifest is wrong"},
	} {
		ok := must(t)
		parent := t.TempDir()
		w, err := Create(filepath.Join(parent, "job"))
		ok(err)
		m := sampleManifest()
		fillSample(t, w, m)
		c.change(w, m)
		if _, err := w.Commit(m); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		if _, err := w.Commit(m); err == nil {
			t.Errorf("%s: the second attempt succeeds", c.name)
		}
		ok(w.Abort())
		if names, err := os.ReadDir(parent); err != nil || len(names) != 0 {
			t.Errorf("%s: left behind: %v %v", c.name, names, err)
		}
	}
}

func TestSaveFileFails(t *testing.T) {
	ok := must(t)
	dir := filepath.Join(t.TempDir(), "job")
	w, err := Create(dir)
	ok(err)
	defer w.Abort()
	broken := errors.New("broken")
	if _, _, err := w.SaveFile(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	s, err := w.Store("mm-1")
	ok(err)
	entry, err := s.Close()
	ok(err)
	_, err = w.Commit(storeManifest(0, entry))
	ok(err)
	ok(openAndVerify(dir)) // nothing of the attempt is left
}

// TestParallel fills stores and saves files from several goroutines.
func TestParallel(t *testing.T) {
	ok := must(t)
	dir := filepath.Join(t.TempDir(), "a.b*c") // a name with special characters
	w, err := Create(dir)
	ok(err)
	defer w.Abort()
	var group sync.WaitGroup
	entries := make([]Store, 8)
	for i := range entries {
		group.Go(func() {
			name := "shm-" + string(rune('0'+i))
			if i == 0 {
				name = "mm-1"
			}
			s, err := w.Store(name)
			if err != nil {
				t.Error(err)
				return
			}
			for j := range uint64(20) {
				if i > 0 && s.Write(j*mib/4, bytes.Repeat([]byte{byte(i)}, mib/4)) != nil {
					t.Error("write failed")
				}
			}
			if entries[i], err = s.Close(); err != nil {
				t.Error(err)
			}
			if _, _, err := w.SaveFile(bytes.NewReader(sampleFile)); err != nil {
				t.Error(err)
			}
			if _, err := w.AddXState(sampleState[0]); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	m := storeManifest(100*mib, entries...)
	m.Files = append(m.Files, File{ID: 1, Path: "/b", Saved: true, SHA256: sampleSHA256})
	_, err = w.Commit(m)
	ok(err)
	ok(openAndVerify(dir))
}
