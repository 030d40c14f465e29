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
	buf     []byte
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
	for _, r := range p.ranges {
		if err := p.copy(ctx, r.Start, r.End, 0); err != nil {
			return err
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
		if err := p.store.Write(at, page); err != nil {
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
		if err := p.store.Write(start-base, p.buf[:n]); err != nil {
			return err
		}
		start += n
	}
	return nil
}
