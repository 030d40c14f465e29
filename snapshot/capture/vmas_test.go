package capture

import (
	"testing"

	"github.com/crtrace/crtrace/snapshot"
	"github.com/crtrace/crtrace/tracer/procfs"
)

func TestClassify(t *testing.T) {
	writable := procfs.Mapping{Path: "/dev/shm/x", Shared: true, Write: true, Flags: "rd wr sh mr mw me ms"}
	readable := procfs.Mapping{Path: "/dev/shm/x", Shared: true, Flags: "rd mr me ms"}
	for name, c := range map[string]struct {
		mapping procfs.Mapping
		want    snapshot.VMAKind
	}{
		"anonymous":                  {procfs.Mapping{}, snapshot.VMAAnon},
		"heap":                       {procfs.Mapping{Path: "[heap]"}, snapshot.VMAAnon},
		"named anonymous":            {procfs.Mapping{Path: "[anon:x]"}, snapshot.VMAAnon},
		"vdso":                       {procfs.Mapping{Path: "[vdso]"}, snapshot.VMAVDSO},
		"vvar":                       {procfs.Mapping{Path: "[vvar]"}, snapshot.VMAVDSO},
		"vvar_vclock":                {procfs.Mapping{Path: "[vvar_vclock]"}, snapshot.VMAVDSO},
		"file":                       {procfs.Mapping{Path: "/lib/libc.so.6"}, snapshot.VMAFile},
		"deleted file, private":      {procfs.Mapping{Path: "/lib/libc.so.6", Deleted: true}, snapshot.VMAAnon},
		"deleted file, shared":       {procfs.Mapping{Path: "/tmp/x", Deleted: true, Shared: true}, snapshot.VMAShared},
		"memfd":                      {procfs.Mapping{Path: "/memfd:x", Deleted: true, Shared: true}, snapshot.VMAShared},
		"shared anonymous":           {procfs.Mapping{Path: "/dev/zero", Deleted: true, Shared: true}, snapshot.VMAShared},
		"private /dev/zero":          {procfs.Mapping{Path: "/dev/zero"}, snapshot.VMAAnon},
		"shared memory, for writing": {writable, snapshot.VMAShared},
		"shared memory, for reading": {readable, snapshot.VMAFile},
	} {
		if got := classify(&c.mapping); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestProt(t *testing.T) {
	for want, m := range map[string]procfs.Mapping{
		"---": {}, "r--": {Read: true}, "rw-": {Read: true, Write: true}, "r-x": {Read: true, Exec: true}, "rwx": {Read: true, Write: true, Exec: true},
	} {
		if got := prot(&m); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestTrimDeleted(t *testing.T) {
	for link, want := range map[string]struct {
		path    string
		deleted bool
	}{
		"/a/b":                    {"/a/b", false},
		"/a/b (deleted)":          {"/a/b", true},
		"/a (deleted)/b":          {"/a (deleted)/b", false},
		"/memfd:x (deleted)":      {"/memfd:x", true},
		"/a (deleted) (deleted)":  {"/a (deleted)", true},
		"/caf\xe9\n<&> (deleted)": {"/caf\xe9\n<&>", true},
	} {
		if path, deleted := trimDeleted(link); path != want.path || deleted != want.deleted {
			t.Errorf("%q: %q, %v", link, path, deleted)
		}
	}
}

// TestSharedOf: each object is entered once, under the kind that tells how it is
// made again.
func TestSharedOf(t *testing.T) {
	tg := &target{collection: &collection{m: &snapshot.Manifest{}, shared: map[fileKey]int{}}}
	for i, c := range []struct {
		mapping procfs.Mapping
		want    int
		kind    string
		name    string
	}{
		{procfs.Mapping{Path: "/memfd:buf", Deleted: true, Dev: 1, Ino: 10}, 0, sharedMemFD, "buf"},
		{procfs.Mapping{Path: "/dev/zero", Deleted: true, Dev: 1, Ino: 11}, 1, sharedAnon, "zero"},
		{procfs.Mapping{Path: "/memfd:buf", Deleted: true, Dev: 1, Ino: 10, Offset: 4096}, 0, sharedMemFD, "buf"},
		{procfs.Mapping{Path: "/memfd:buf", Deleted: true, Dev: 1, Ino: 12}, 2, sharedMemFD, "buf"},
		{procfs.Mapping{Path: "/tmp/f", Deleted: true, Dev: 2, Ino: 10}, 3, sharedDeleted, "/tmp/f"},
		{procfs.Mapping{Path: "/dev/shm/f", Dev: 3, Ino: 10}, 4, sharedNamed, "/dev/shm/f"},
	} {
		got := tg.sharedOf(&c.mapping)
		if got != c.want {
			t.Errorf("mapping %d: object %d, want %d", i, got, c.want)
			continue
		}
		if s := tg.m.Shared[got]; s.Kind != c.kind || s.Name != c.name || s.ID != got {
			t.Errorf("mapping %d: %+v, want kind %s, name %s", i, s, c.kind, c.name)
		}
	}
}
