package snapshot

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// TestBase: a store can say that pages are as they are in another one, and that one
// in a third.
func TestBase(t *testing.T) {
	ok := must(t)
	m := storeManifest(0)
	m.Processes = nil
	dir := filepath.Join(t.TempDir(), "job")
	w, err := Create(dir)
	ok(err)
	defer w.Abort()
	for i, name := range []string{"mm-1", "mm-2", "mm-3"} {
		s, err := w.Store(name)
		ok(err)
		switch i {
		case 0:
			ok(s.Write(0x1000, cat(page(1), page(2), page(0), page(4))))
			ok(s.Write(0x8000, page(8)))
		case 1:
			s.SetBase("mm-1")
			ok(s.Inherit(0x1000, PageSize))
			ok(s.Write(0x2000, page(22)))
			ok(s.Inherit(0x3000, 2*PageSize))
		case 2:
			s.SetBase("mm-2")
			ok(s.Inherit(0x1000, 2*PageSize))
			ok(s.Inherit(0x3000, 2*PageSize))
			ok(s.Write(0x8000, page(9)))
		}
		entry, err := s.Close()
		ok(err)
		m.Stores = append(m.Stores, entry)
		m.Processes = append(m.Processes, Process{
			PID: 10 + i, PPID: 9 + i, Cwd: "/", MM: MM{Store: name}, Threads: []Thread{{TID: 10 + i}},
			VMAs: []VMA{{Start: 0x1000, End: 0x9000, Kind: VMAAnon, Prot: "rw-"}},
		})
	}
	m.Root, m.Processes[0].PPID = 10, 0
	_, err = w.Commit(m)
	ok(err)
	im, err := Open(dir)
	ok(err)
	defer im.Close()
	ok(im.Verify())
	s, err := im.Store("mm-3")
	ok(err)
	defer s.Close()
	type at struct {
		Addr, Len uint64
		Store     string
		Offset    int64
		Base      bool
	}
	var got []at
	for _, p := range s.Pieces() {
		name := ""
		if p.Store != nil {
			name = p.Store.name
		}
		got = append(got, at{p.Addr, p.Len, name, p.Offset, p.Base})
	}
	want := []at{
		{0x1000, PageSize, "mm-1", 0, true}, {0x2000, PageSize, "mm-2", 0, true}, {0x3000, PageSize, "", 0, true},
		{0x4000, PageSize, "mm-1", 2 * PageSize, true}, {0x8000, PageSize, "mm-3", 0, false},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("pieces (-want +got):\n%s", diff)
	}
	forks := im.Manifest.Forks(&im.Manifest.Processes[0])
	if len(forks) != 3 {
		t.Errorf("%d processes are forks of the root, want 3", len(forks))
	}
}

// TestBaseRefuses: references that lead nowhere.
func TestBaseRefuses(t *testing.T) {
	base := &StoreReader{records: []Record{{Addr: 0x1000, Pages: 2}, {Addr: 0x4000, Pages: 1}}}
	for name, c := range map[string]struct {
		r    Record
		want bool
	}{
		"all there":   {Record{Addr: 0x1000, Pages: 2, Base: true}, true},
		"a part":      {Record{Addr: 0x2000, Pages: 1, Base: true}, true},
		"too long":    {Record{Addr: 0x2000, Pages: 2, Base: true}, false},
		"over a hole": {Record{Addr: 0x1000, Pages: 4, Base: true}, false},
		"below":       {Record{Addr: 0, Pages: 1, Base: true}, false},
		"above":       {Record{Addr: 0x5000, Pages: 1, Base: true}, false},
	} {
		s := &StoreReader{base: base, records: []Record{c.r}}
		if err := s.checkBase("mm-2.map"); (err == nil) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	m := validSample()
	for _, name := range []string{"mm-2", "mm-9", "shm-1"} {
		m.Stores[1].Base = name
		if m.Validate() == nil {
			t.Errorf("mm-2 is based on %s", name)
		}
	}
}
