package capture

import (
	"context"
	"fmt"
	"strings"

	"github.com/crtrace/crtrace/snapshot"
	"github.com/crtrace/crtrace/tracer/procfs"
	"golang.org/x/sys/unix"
)

// copyLen is how much memory is read at a time, in bytes.
const copyLen = 4 << 20

// takeVMAs collects the address space: its areas and the pages that only it has.
func (t *target) takeVMAs(ctx context.Context) error {
	maps, err := procfs.ReadSmaps(t.pid)
	if err != nil {
		return err
	}
	t.maps = maps
	if err := t.surveyMaps(maps); err != nil || len(t.problems) > 0 {
		return err
	}
	pagemap, err := procfs.OpenPagemap(t.pid)
	if err != nil {
		return err
	}
	defer pagemap.Close()
	pages, err := t.newPages(pagemap, fmt.Sprintf("mm-%d", len(t.m.Processes)+1))
	if err != nil {
		return err
	}
	pages.shareWith(t.forkedFrom())
	for i := range maps {
		m := &maps[i]
		if m.Start == t.remote.Area {
			t.out.Attributes.LockFuture = m.Flags.Has("lo")
			continue
		}
		if m.Path == "[vsyscall]" {
			continue
		}
		vma, err := t.takeVMA(m, pagemap)
		if err != nil {
			return err
		}
		t.out.VMAs = append(t.out.VMAs, vma)
		if err := pages.take(ctx, m, vma.Kind); err != nil {
			return err
		}
	}
	store, err := pages.store.Close()
	if err != nil {
		return err
	}
	t.stored = pages.stored
	t.m.Stores = append(t.m.Stores, store)
	t.out.MM.Store = store.Name
	return nil
}

// takeVMA describes one area.
func (t *target) takeVMA(m *procfs.Mapping, pagemap *procfs.Pagemap) (snapshot.VMA, error) {
	v := snapshot.VMA{
		Start: snapshot.Hex(m.Start), End: snapshot.Hex(m.End), Prot: prot(m), Shared: m.Shared,
		Flags: string(m.Flags),
	}
	var err error
	switch kind := classify(m); kind {
	case snapshot.VMAVDSO:
		v.Kind, v.Name = kind, m.Path
		return v, nil
	case snapshot.VMAAnon:
		v.Kind = kind
		if strings.HasPrefix(m.Path, "[") {
			v.Name = m.Path
		}
	case snapshot.VMAShared:
		v.Kind, v.Offset = kind, snapshot.Hex(m.Offset)
		v.Object = t.sharedOf(m)
	default:
		v.Kind, v.Offset = kind, snapshot.Hex(m.Offset)
		v.Write = m.Shared && m.Flags.Has("mw")
		v.Object, err = t.fileOf(m)
	}
	if err != nil {
		return v, err
	}
	guards, err := pagemap.Guards(m.Start, m.End)
	for _, g := range guards {
		v.Guards = append(v.Guards, snapshot.Range{Start: snapshot.Hex(g.Start), End: snapshot.Hex(g.End)})
	}
	return v, err
}

// classify tells where the content of an area comes from.
func classify(m *procfs.Mapping) snapshot.VMAKind {
	switch {
	case m.Path == "[vdso]", m.Path == "[vvar]", m.Path == "[vvar_vclock]":
		return snapshot.VMAVDSO
	case m.Path == "", m.Path[0] == '[':
		return snapshot.VMAAnon
	case m.Path == "/dev/zero" && !m.Shared:
		return snapshot.VMAAnon // a private mapping of /dev/zero is anonymous memory
	case losesFile(m):
		return snapshot.VMAAnon
	case m.Deleted, strings.HasPrefix(m.Path, "/dev/shm/") && m.Shared && m.Flags.Has("mw"):
		return snapshot.VMAShared
	}
	return snapshot.VMAFile
}

// losesFile tells whether an area is a private mapping of a file that has no name
// any more, such as a library after an upgrade. All of its content goes into the
// image and comes back as anonymous memory.
func losesFile(m *procfs.Mapping) bool { return m.Deleted && !m.Shared && m.Path != "" }

// prot returns the protection in the form of the manifest.
func prot(m *procfs.Mapping) string {
	b := []byte("---")
	if m.Read {
		b[0] = 'r'
	}
	if m.Write {
		b[1] = 'w'
	}
	if m.Exec {
		b[2] = 'x'
	}
	return string(b)
}

// surveyVMAs looks at the address space of a running process.
func (t *target) surveyVMAs() error {
	maps, err := procfs.ReadSmaps(t.pid)
	if err != nil {
		return err
	}
	t.maps = maps
	return t.surveyMaps(maps)
}

// surveyMaps looks for areas that can't be restored.
func (t *target) surveyMaps(maps []procfs.Mapping) error {
	for i := range maps {
		m := &maps[i]
		object := fmt.Sprintf("memory at 0x%x (%s)", m.Start, m.Path)
		switch {
		case m.Path == "[vsyscall]", classify(m) == snapshot.VMAVDSO:
		case strings.HasPrefix(m.Path, "/[aio]"):
			t.refuse(object, "an asynchronous I/O context (io_setup) can't be rebuilt", "let the program call io_destroy before the checkpoint")
		case strings.HasPrefix(m.Path, "anon_inode:"):
			t.refuse(object, "its content lives in the kernel", "")
		case m.Flags.Has("ht"):
			t.refuse(object, "huge pages of hugetlbfs are not supported", "use transparent huge pages")
		case m.Flags.Has("um"), m.Flags.Has("uw"), m.Flags.Has("ui"):
			t.refuse(object, "it is registered with a userfaultfd", "")
		case m.Flags.Has("pf"), m.Flags.Has("io"):
			t.refuse(object, "it is memory of a device", "")
		case classify(m) == snapshot.VMAFile:
			if err := t.surveyMappedFile(m, object); err != nil {
				return err
			}
		}
	}
	return nil
}

// surveyMappedFile checks that the name of a mapped file leads to the file.
func (t *target) surveyMappedFile(m *procfs.Mapping, object string) error {
	var st unix.Stat_t
	switch err := unix.Stat(m.Path, &st); {
	case err != nil:
		t.refuse(object, "its file can't be found: "+err.Error(), "run crtrace where the program's files are visible")
	case st.Ino != m.Ino:
		t.refuse(object, "another file has its name now", "restart the program, or put the old file back")
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		t.refuse(object, "a device is mapped", "")
	}
	return nil
}
