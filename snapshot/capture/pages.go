package capture

import (
	"context"
	"errors"
	"fmt"

	"github.com/crtrace/crtrace/snapshot"
	"github.com/crtrace/crtrace/tracer"
	"github.com/crtrace/crtrace/tracer/procfs"
)

// pages writes pages of an address space to a store.
type pages struct {
	t       *target
	pagemap *procfs.Pagemap
	store   *snapshot.StoreWriter
	ranges  []procfs.Range // buffer
	common  []procfs.Range // buffer
	buf     []byte
	stored  []procfs.Range // what has been written
	parent  *common        // nil: the process shares nothing with its parent
}

func (t *target) newPages(pagemap *procfs.Pagemap, name string) (*pages, error) {
	store, err := t.w.Store(name)
	if err != nil {
		return nil, err
	}
	return &pages{t: t, pagemap: pagemap, store: store, buf: make([]byte, copyLen)}, nil
}

// take stores the pages of an area that can't be had from elsewhere: everything
// of anonymous memory, the changed pages of private mappings.
func (p *pages) take(ctx context.Context, m *procfs.Mapping, kind snapshot.VMAKind) error {
	which := procfs.PrivateFile
	switch {
	case kind == snapshot.VMAVDSO:
		if m.Path != "[vdso]" {
			return nil
		}
		return p.copy(ctx, m.Start, m.End, 0)
	case m.Shared:
		return nil
	case losesFile(m):
		return p.copyReadable(ctx, m.Start, m.End)
	case kind == snapshot.VMAAnon:
		which = procfs.Populated
	}
	if m.RSS == 0 && m.Swap == 0 && m.Anonymous == 0 {
		return nil
	}
	var err error
	if p.ranges, err = p.pagemap.Present(m.Start, m.End, which, p.ranges[:0]); err != nil {
		return fmt.Errorf("pages at 0x%x: %w", m.Start, err)
	}
	var common []procfs.Range
	if m.SharedClean|m.SharedDirty|m.Swap != 0 {
		if common, err = p.pagemap.Common(m.Start, m.End, p.common[:0]); err != nil {
			return fmt.Errorf("pages at 0x%x: %w", m.Start, err)
		}
		p.common = common
	}
	return p.takeRanges(ctx, common)
}

// takeRanges stores the pages in p.ranges. Those in common may be common to other
// processes.
func (p *pages) takeRanges(ctx context.Context, common []procfs.Range) error {
	for _, r := range p.ranges {
		for r.Start < r.End {
			for len(common) > 0 && common[0].End <= r.Start {
				common = common[1:]
			}
			to, store := r.End, p.copy
			switch {
			case len(common) == 0:
			case common[0].Start > r.Start:
				to = min(to, common[0].Start)
			default:
				to, store = min(to, common[0].End), p.copyCommon
			}
			if err := store(ctx, r.Start, to, 0); err != nil {
				return err
			}
			r.Start = to
		}
	}
	return nil
}

// copyReadable stores the memory from start to end up to the end of the mapped
// file: what lies behind it can't be read.
func (p *pages) copyReadable(ctx context.Context, start, end uint64) error {
	for at := start; at < end; at += snapshot.PageSize {
		if err := ctx.Err(); err != nil {
			return err
		}
		page := p.buf[:snapshot.PageSize]
		if err := p.t.proc.Mem.Read(at, page); err != nil {
			if errors.Is(err, tracer.ErrTaskGone) {
				return err
			}
			return nil
		}
		if err := p.write(at, page); err != nil {
			return err
		}
	}
	return nil
}

// copy stores the memory from start to end under its address less base.
func (p *pages) copy(ctx context.Context, start, end, base uint64) error {
	for start < end {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(end-start, uint64(len(p.buf)))
		if err := p.t.proc.Mem.Read(start, p.buf[:n]); err != nil {
			return err
		}
		if err := p.write(start-base, p.buf[:n]); err != nil {
			return err
		}
		start += n
	}
	return nil
}

// write stores pages.
func (p *pages) write(at uint64, data []byte) error {
	p.note(at, uint64(len(data)))
	return p.store.Write(at, data)
}

// note remembers that the store has some pages.
func (p *pages) note(at, n uint64) {
	if last := len(p.stored) - 1; last >= 0 && p.stored[last].End == at {
		p.stored[last].End += n
		return
	}
	p.stored = append(p.stored, procfs.Range{Start: at, End: at + n})
}
