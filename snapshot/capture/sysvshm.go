package capture

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/crtrace/crtrace/snapshot"
	"github.com/crtrace/crtrace/tracer/procfs"
	"golang.org/x/sys/unix"
)

// Flags in the mode of a segment.
const (
	shmDest   = 0o1000 // SHM_DEST: marked for removal
	shmLocked = 0o2000 // SHM_LOCKED
)

// sharedKey identifies the memory behind a shared mapping. The id of a segment may be
// the inode of a memfd too.
func sharedKey(m *procfs.Mapping) fileKey {
	const segment = 1 << 63
	if m.IsSegment() {
		return fileKey{m.Dev | segment, m.Ino}
	}
	return fileKey{m.Dev, m.Ino}
}

// newSegment is what is known of a segment when the first attachment is seen. Its key
// shows in the name even when it is marked for removal.
func newSegment(m *procfs.Mapping) snapshot.Shared {
	var key uint32
	_, _ = fmt.Sscanf(m.Path, "/SYSV%08x", &key) // IsSegment has looked
	return snapshot.Shared{
		Name: strings.TrimPrefix(m.Path, "/"), Kind: snapshot.KindSysV,
		SysV: &snapshot.SysVShm{IPC: snapshot.IPC{ID: int(m.Ino), Key: int(int32(key))}},
	}
}

// takeSegments collects the segments of shared memory that the tree has attached or made.
func (c *collection) takeSegments() error {
	table, err := procfs.Segments()
	if err != nil {
		return fmt.Errorf("shared memory segments: %w", err)
	}
	attached := c.attachments()
	for i := range table {
		s := &table[i]
		ours := attached[s.ID]
		var uses []procfs.Use
		if ours == 0 { // else the number of attachments tells
			uses = s.Uses()
		}
		out, mine := c.ownsIPC(kindSegment, &s.IPC, ours > 0, uses)
		if !mine || out.Guessed && s.Attached > 0 {
			continue // somebody else's
		}
		if s.Attached > ours && !c.settles(s.ID) {
			c.targets[0].refuse(fmt.Sprintf("%s %d", kindSegment, s.ID),
				"a process that is not part of the program has it attached too", "end that process before the checkpoint")
			continue
		}
		if !c.surveying() {
			c.enterSegment(s, out)
		}
	}
	return nil
}

// attachments counts the areas of all processes by segment.
func (c *collection) attachments() map[int]int {
	out := map[int]int{}
	for _, t := range c.targets {
		for i := range t.maps {
			if m := &t.maps[i]; m.IsSegment() {
				out[int(m.Ino)]++
			}
		}
	}
	return out
}

// settles looks again whether the tree has all attachments of a segment: a program that
// runs may have forked between two looks.
func (c *collection) settles(id int) bool {
	if !c.surveying() {
		return false
	}
	const patience, step = 200 * time.Millisecond, 5 * time.Millisecond
	tick := time.NewTicker(step)
	defer tick.Stop()
	for end := time.Now().Add(patience); time.Now().Before(end); <-tick.C {
		if alive, _, err := c.list(c.targets[0].pid); err != nil || len(alive) != len(c.targets) {
			return true // processes come and go; once the tree stands still we shall see
		}
		for _, t := range c.targets {
			if maps, err := procfs.ReadMaps(t.pid); err == nil {
				t.maps = maps
			}
		}
		ours := c.attachments()[id]
		var d unix.SysvShmDesc
		if _, err := unix.SysvShmCtl(id, unix.IPC_STAT, &d); err != nil || int(d.Nattch) == ours {
			return err == nil
		}
	}
	return false
}

// sharedSegment returns the table's entry of a segment that somebody has attached.
func (c *collection) sharedSegment(id int) (*snapshot.Shared, bool) {
	for i := range c.m.Shared {
		if s := &c.m.Shared[i]; s.SysV != nil && s.SysV.ID == id {
			return s, true
		}
	}
	return nil, false
}

// enterSegment notes the properties of a segment.
func (c *collection) enterSegment(s *procfs.Segment, out *snapshot.IPC) {
	entry, ok := c.sharedSegment(s.ID)
	if !ok {
		const unattached = 1 << 62
		id := c.addShared(fileKey{unattached, uint64(s.ID)}, snapshot.Shared{
			Name: fmt.Sprintf("SYSV%08x", uint32(s.Key)), Kind: snapshot.KindSysV, SysV: &snapshot.SysVShm{IPC: *out},
		})
		entry = &c.m.Shared[id]
	}
	out.Key = entry.SysV.Key // a removed one has none any more
	entry.Size = snapshot.Hex(s.Size)
	entry.SysV = &snapshot.SysVShm{IPC: *out, Removed: s.Mode&shmDest != 0, Locked: s.Mode&shmLocked != 0}
}

// segmentFromHere stores a segment that the mappings of the tree do not show as a whole:
// it is attached to this process for a moment, to be read only.
func segmentFromHere(ctx context.Context, s *snapshot.Shared, store *snapshot.StoreWriter) (err error) {
	b, err := unix.SysvShmAttach(s.SysV.ID, 0, unix.SHM_RDONLY)
	if err != nil {
		return fmt.Errorf("attach it: %w", err)
	}
	defer func() { err = errors.Join(err, unix.SysvShmDetach(b)) }()
	m, err := procfs.AttachedHere(s.SysV.ID)
	if err != nil {
		return err
	}
	if m.Flags.Has("ht") {
		return errors.New("huge pages of hugetlbfs are not supported")
	}
	mem, err := os.Open("/proc/self/mem") // b ends with the segment, not with its last page
	if err != nil {
		return err
	}
	defer mem.Close()
	const page, step = snapshot.PageSize, copyLen
	buf, vec := make([]byte, step), make([]byte, step/page)
	for at := m.Start; at < m.End; at += step {
		if err := ctx.Err(); err != nil {
			return err
		}
		part := vec[:min(step, m.End-at)/page]
		if err := mincore(at, part); err != nil {
			return fmt.Errorf("mincore: %w", err)
		}
		for _, r := range presentPages(at, part, swapInUse()) {
			data := buf[:r.End-r.Start]
			if _, err := mem.ReadAt(data, int64(r.Start)); err != nil {
				return err
			}
			if err := store.Write(r.Start-m.Start, data); err != nil {
				return err
			}
		}
	}
	return nil
}

// presentPages turns what mincore(2) says of the pages from an address on into ranges;
// all of them with all set, as mincore does not look into swap.
func presentPages(at uint64, vec []byte, all bool) []procfs.Range {
	const page = snapshot.PageSize
	var out []procfs.Range
	for i, b := range vec {
		addr := at + uint64(i)*page
		switch {
		case b&1 == 0 && !all:
		case len(out) > 0 && out[len(out)-1].End == addr:
			out[len(out)-1].End += page
		default:
			out = append(out, procfs.Range{Start: addr, End: addr + page})
		}
	}
	return out
}
