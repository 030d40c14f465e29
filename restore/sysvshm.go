package restore

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/crtrace/crtrace/snapshot"
	"github.com/crtrace/crtrace/tracer"
	"github.com/crtrace/crtrace/tracer/procfs"
	"golang.org/x/sys/unix"
)

// segmentKind is shared memory.
var segmentKind = &ipcKind{
	name: "shared memory segment",
	next: "/proc/sys/kernel/shm_next_id",
	list: func() ([]ipcState, error) {
		table, err := procfs.Segments()
		out := make([]ipcState, len(table))
		for i := range table {
			s := &table[i]
			out[i] = ipcState{IPC: s.IPC, size: int(s.Size), attached: s.Attached, look: s.Uses}
		}
		return out, err
	},
	make:   func() (int, error) { return makeSegment(unix.IPC_PRIVATE, 1) },
	remove: removeSegment,
	filler: fillSlot,
}

const shmLock = 11 // SHM_LOCK

// makeSegment makes a segment for this user.
func makeSegment(key, size int) (int, error) {
	return unix.SysvShmGet(key, size, unix.IPC_CREAT|unix.IPC_EXCL|0o600)
}

func removeSegment(id int) error {
	_, err := unix.SysvShmCtl(id, unix.IPC_RMID, nil)
	return err
}

// fillSlot keeps a slot by a segment that is marked for removal and attached here.
func fillSlot() (id int, end func(), err error) {
	if id, err = makeSegment(unix.IPC_PRIVATE, 1); err != nil {
		return 0, nil, err
	}
	b, err := unix.SysvShmAttach(id, 0, 0)
	if err := errors.Join(err, removeSegment(id)); err != nil {
		return 0, nil, err
	}
	return id, func() { _ = unix.SysvShmDetach(b) }, nil // it was just attached
}

// newSegment is a segment on its way back.
func newSegment(s *snapshot.Shared) *ipcObject {
	return &ipcObject{
		kind: segmentKind, image: &s.SysV.IPC, size: int(s.Size), removed: s.SysV.Removed,
		make:      func(key int) (int, error) { return makeSegment(key, int(s.Size)) },
		unchanged: func(*ipcState) bool { return false }, // its content was not compared
	}
}

// fillSegment gives a segment its content, through an attachment of this process.
func (b *broker) fillSegment(s *snapshot.Shared, o *ipcObject) (err error) {
	if o.left {
		return nil
	}
	if err := setSegment(o.id, func(d *unix.SysvShmDesc) { d.Perm.Mode = 0o600 }); err != nil {
		return err
	}
	mem, err := unix.SysvShmAttach(o.id, 0, 0)
	if err != nil {
		return fmt.Errorf("attach it: %w", err)
	}
	defer func() { err = errors.Join(err, unix.SysvShmDetach(mem)) }()
	if err := unix.Madvise(mem, unix.MADV_REMOVE); err != nil { // what it holds now
		return fmt.Errorf("empty it: %w", err)
	}
	m, err := procfs.AttachedHere(o.id)
	if err != nil {
		return err
	}
	file, err := os.OpenFile("/proc/self/mem", os.O_RDWR, 0) // mem ends with the segment, not with its last page
	if err != nil {
		return err
	}
	defer file.Close()
	return b.eachRecord(s, func(addr uint64, data []byte) error {
		_, err := file.WriteAt(data, int64(m.Start+addr))
		return err
	})
}

// setSegment changes the owner or the permissions of a segment.
func setSegment(id int, change func(*unix.SysvShmDesc)) error {
	var d unix.SysvShmDesc
	if _, err := unix.SysvShmCtl(id, unix.IPC_STAT, &d); err != nil {
		return fmt.Errorf("IPC_STAT: %w", err)
	}
	change(&d)
	if _, err := unix.SysvShmCtl(id, unix.IPC_SET, &d); err != nil {
		return fmt.Errorf("IPC_SET: %w", err)
	}
	return nil
}

// finishSegments gives the segments their permissions, and marks those for removal that
// were so. All processes have attached them. The change also makes the segments younger
// than the processes, which the next checkpoint looks for.
func (b *broker) finishSegments() error {
	for i, o := range b.segments {
		if o.left {
			if o.found { // it still may belong to the program
				_ = setSegment(o.id, func(*unix.SysvShmDesc) {}) // or it has gone meanwhile
			}
			continue
		}
		s := b.m.Shared[i].SysV
		if err := setSegment(o.id, func(d *unix.SysvShmDesc) {
			d.Perm.Mode, d.Perm.Uid, d.Perm.Gid = uint32(s.Mode), uint32(s.UID), uint32(s.GID)
		}); err != nil {
			return fmt.Errorf("%s: %w", o, err)
		}
		if s.Locked {
			if _, err := unix.SysvShmCtl(o.id, shmLock, nil); err != nil {
				b.warn("%s is not locked in memory any more: %v", o, err)
			}
		}
		if s.Removed {
			if err := o.kind.remove(o.id); err != nil {
				return fmt.Errorf("mark %s for removal: %w", o, err)
			}
			o.made = false // it goes with the processes
		}
	}
	return nil
}

// attachment is what one shmat(2) of a process has left: areas whose addresses differ
// from their place in the segment by the same base. Parts of it may have been unmapped,
// protected in another way or moved; what has been moved is an attachment of its own.
type attachment struct {
	object int
	base   uint64
	write  bool
	areas  []*snapshot.VMA
}

// attachments groups the areas of a process that are parts of segments.
func (p *process) attachments() []*attachment {
	var out []*attachment
	for i := range p.image.VMAs {
		v := &p.image.VMAs[i]
		if !p.isSegment(v) {
			continue
		}
		base, write := uint64(v.Start-v.Offset), hasFlag(v, "mw")
		at := slices.IndexFunc(out, func(a *attachment) bool { return a.object == v.Object && a.base == base && a.write == write })
		if at < 0 {
			at = len(out)
			out = append(out, &attachment{object: v.Object, base: base, write: write})
		}
		out[at].areas = append(out[at].areas, v)
	}
	return out
}

// isSegment tells whether an area is part of a segment.
func (p *process) isSegment(v *snapshot.VMA) bool {
	return v.Kind == snapshot.VMAShared && p.run.m.Shared[v.Object].SysV != nil
}

// attachSegments attaches the segments as the program has them. Only shmat(2) makes such
// areas: a segment is attached as a whole where nothing of the program lies, and what the
// program has of it is moved to its place.
func (p *process) attachSegments() error {
	for _, a := range p.attachments() {
		if err := p.attach(a); err != nil {
			return fmt.Errorf("%s: %w", p.broker.segments[a.object], err)
		}
	}
	return nil
}

func (p *process) attach(a *attachment) error {
	const page = snapshot.PageSize
	size := (uint64(p.run.m.Shared[a.object].Size) + page - 1) &^ (page - 1)
	flags := uint64(0)
	if !a.write {
		flags = unix.SHM_RDONLY
	}
	room, err := p.findRoom(size)
	if err != nil {
		return err
	}
	if _, err := p.call("shmat", unix.SYS_SHMAT, uint64(p.broker.segments[a.object].id), room, flags); err != nil {
		return err
	}
	s := newScript(p.stub, p.stub.Leader())
	for _, v := range a.areas {
		start, length := uint64(v.Start), uint64(v.End-v.Start)
		s.add("move it to "+v.Start.String(), unix.SYS_MREMAP, room+uint64(v.Offset), length, length,
			unix.MREMAP_MAYMOVE|unix.MREMAP_FIXED, start)
		s.add("protect "+v.Start.String(), unix.SYS_MPROTECT, start, length, protBits(v.Prot))
	}
	s.add("unmap the rest", unix.SYS_MUNMAP, room, size)
	return s.run()
}

// findRoom finds addresses for some bytes where neither the program nor the work area has
// anything.
func (p *process) findRoom(size uint64) (uint64, error) {
	const lowest, page, end32, end64 = 0x1000_0000, snapshot.PageSize, 0xf000_0000, 0x7000_0000_0000
	end := uint64(end64)
	if p.image.Compat {
		end = end32
	}
	taken := []procfs.Range{{Start: p.stub.Area, End: p.stub.Area + tracer.AreaLen}}
	for _, v := range p.image.VMAs {
		taken = append(taken, procfs.Range{Start: uint64(v.Start), End: uint64(v.End)})
	}
	maps, err := procfs.ReadMaps(p.stub.PID) // where the vdso has found its place, for instance
	if err != nil {
		return 0, err
	}
	for _, m := range maps {
		taken = append(taken, procfs.Range{Start: m.Start, End: m.End})
	}
	slices.SortFunc(taken, func(a, b procfs.Range) int { return cmp.Compare(a.Start, b.Start) })
	at := uint64(lowest)
	for _, r := range taken {
		if at+size+page <= r.Start {
			break
		}
		at = max(at, r.End+page)
	}
	if at+size > end {
		return 0, fmt.Errorf("no %d bytes of addresses are free beside the program", size)
	}
	return at, nil
}
