package capture

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/crtrace/crtrace/snapshot"
	"github.com/crtrace/crtrace/tracer/procfs"
	"golang.org/x/sys/unix"
)

// Kinds of snapshot.Shared.
const (
	sharedMemFD   = "memfd"
	sharedAnon    = "anon"
	sharedDeleted = "deleted"
	sharedNamed   = "named"
)

// sharedOf returns the number of the shared memory that an area maps.
func (t *target) sharedOf(m *procfs.Mapping) int {
	if m.IsSegment() {
		return t.addShared(sharedKey(m), newSegment(m))
	}
	s := snapshot.Shared{Name: m.Path, Kind: sharedDeleted, Path: m.Path}
	switch name, memfd := strings.CutPrefix(m.Path, "/memfd:"); {
	case memfd:
		s = snapshot.Shared{Name: name, Kind: sharedMemFD}
	case m.Path == "/dev/zero" && m.Deleted:
		s = snapshot.Shared{Name: "zero", Kind: sharedAnon}
	case !m.Deleted:
		s.Kind = sharedNamed
	}
	return t.addShared(sharedKey(m), s)
}

// addShared enters shared memory into the table.
func (c *collection) addShared(key fileKey, s snapshot.Shared) int {
	if id, ok := c.shared[key]; ok {
		return id
	}
	s.ID = len(c.m.Shared)
	s.Store = fmt.Sprintf("shm-%d", s.ID+1)
	c.m.Shared = append(c.m.Shared, s)
	c.shared[key] = s.ID
	return s.ID
}

// takeShared stores the content of all shared memory that the tree leads to.
func (c *collection) takeShared(ctx context.Context) error {
	for key, id := range c.shared {
		s := &c.m.Shared[id]
		if err := c.takeObject(ctx, s, key); err != nil {
			return fmt.Errorf("shared memory %q: %w", s.Name, err)
		}
	}
	slices.SortFunc(c.m.Stores, func(a, b snapshot.Store) int { // as they are counted: a base comes first
		return cmp.Or(len(a.Name)-len(b.Name), strings.Compare(a.Name, b.Name))
	})
	return nil
}

// takeObject stores the content of one shared memory.
func (c *collection) takeObject(ctx context.Context, s *snapshot.Shared, key fileKey) error {
	store, err := c.w.Store(s.Store)
	if err != nil {
		return err
	}
	f, err := c.openShared(s, key)
	if err != nil {
		return err
	}
	switch views := c.viewsOf(key); {
	case f != nil:
		err = errors.Join(sharedFromFile(ctx, s, f, store), f.Close())
	case s.SysV != nil && !covered(views, uint64(s.Size)):
		err = segmentFromHere(ctx, s, store)
	default:
		err = sharedFromMaps(ctx, s, views, store)
	}
	if err != nil {
		return err
	}
	done, err := store.Close()
	c.m.Stores = append(c.m.Stores, done)
	return err
}

// openShared opens shared memory for reading by a descriptor of the tree or by
// its name; nil when nothing but mappings are left.
func (c *collection) openShared(s *snapshot.Shared, key fileKey) (*os.File, error) {
	if s.Kind == sharedNamed {
		return os.Open(s.Path)
	}
	for _, v := range c.byID {
		if v.st.Mode&unix.S_IFMT == unix.S_IFREG && (fileKey{v.st.Dev, v.st.Ino}) == key {
			return os.Open(fmt.Sprintf("/proc/%d/fd/%d", v.pid, v.num))
		}
	}
	return nil, nil
}

// sharedFromFile stores the data of a sparse file.
func sharedFromFile(ctx context.Context, s *snapshot.Shared, f *os.File, store *snapshot.StoreWriter) error {
	buf := make([]byte, copyLen)
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	s.Size, s.Mode = snapshot.Hex(st.Size), snapshot.Hex(st.Mode)
	if s.Kind == sharedMemFD {
		seals, err := unix.FcntlInt(f.Fd(), unix.F_GET_SEALS, 0)
		if err != nil {
			return fmt.Errorf("seals: %w", err)
		}
		s.Seals = snapshot.Hex(seals)
	}
	const page = snapshot.PageSize
	for at := int64(0); at < st.Size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		data, err := f.Seek(at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil // only a hole is left
		}
		if err != nil {
			return err
		}
		hole, err := f.Seek(data, unix.SEEK_HOLE)
		if err != nil {
			return err
		}
		data = max(data/page*page, at)
		if err := copyFile(ctx, store, buf, f, data, hole); err != nil {
			return err
		}
		at = (hole + page - 1) / page * page
	}
	return nil
}

// copyFile stores a part of a file; the last page is filled up with zeros.
func copyFile(ctx context.Context, store *snapshot.StoreWriter, buf []byte, f *os.File, at, end int64) error {
	const page = snapshot.PageSize
	for at < end {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := f.ReadAt(buf[:min(end-at, int64(len(buf)))], at)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if n == 0 {
			return nil // the file was cut off meanwhile
		}
		whole := (n + page - 1) / page * page
		clear(buf[n:whole])
		if err := store.Write(uint64(at), buf[:whole]); err != nil {
			return err
		}
		at += int64(whole)
	}
	return nil
}

// window is a mapping of shared memory in a process.
type window struct {
	t *target
	procfs.Mapping
}

// viewsOf lists the mappings of shared memory by their offset.
func (c *collection) viewsOf(key fileKey) []window {
	var views []window
	for _, t := range c.targets {
		for _, m := range t.maps {
			if m.Shared && sharedKey(&m) == key {
				views = append(views, window{t, m})
			}
		}
	}
	slices.SortStableFunc(views, func(a, b window) int { return cmp.Compare(a.Offset, b.Offset) })
	return views
}

// covered tells whether mappings show all of an object of a size.
func covered(views []window, size uint64) bool {
	done := uint64(0)
	for _, v := range views {
		if v.Offset > done {
			return false
		}
		done = max(done, v.Offset+v.End-v.Start)
	}
	return done >= size
}

// sharedFromMaps stores shared memory that only mappings lead to, each part of it
// through the first that shows it. What was never touched must not be read, for
// that would allocate it.
func sharedFromMaps(ctx context.Context, s *snapshot.Shared, views []window, store *snapshot.StoreWriter) error {
	done := uint64(0)
	for _, m := range views {
		from := max(m.Offset, done)
		to := m.Offset + (m.End - m.Start)
		if s.SysV == nil { // the size of a segment is known
			s.Size = max(s.Size, snapshot.Hex(to))
		}
		if from >= to {
			continue
		}
		base := m.Start - m.Offset
		resident, err := m.t.resident(base+from, base+to)
		if err != nil {
			return err
		}
		p := pages{t: m.t, store: store, buf: make([]byte, copyLen)}
		for _, r := range resident {
			if err := p.copy(ctx, r.Start, r.End, base); err != nil {
				return err
			}
		}
		done = to
	}
	return nil
}

// resident returns which pages of a shared mapping its memory object holds. A
// page table does not tell (another process may have written the page); mincore
// looks at the object, but not into swap.
func (t *target) resident(start, end uint64) ([]procfs.Range, error) {
	const page = snapshot.PageSize
	if swapInUse() {
		return []procfs.Range{{Start: start, End: end}}, nil
	}
	var out []procfs.Range
	const step = 8192 // pages a call; the scratch area takes a byte each
	for at := start; at < end; at += step * page {
		to := min(at+step*page, end)
		if _, err := t.call(unix.SYS_MINCORE, at, to-at, t.remote.Area); err != nil {
			return nil, fmt.Errorf("mincore: %w", err)
		}
		vec, err := t.fetch(int((to - at) / page))
		if err != nil {
			return nil, err
		}
		out = append(out, presentPages(at, vec, false)...)
	}
	return out, nil
}

// swapInUse tells whether anything of this machine's memory is swapped out.
func swapInUse() bool {
	var info unix.Sysinfo_t
	return unix.Sysinfo(&info) != nil || info.Freeswap != info.Totalswap
}
