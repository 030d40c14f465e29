package capture

import (
	"bytes"
	"context"

	"github.com/crtrace/crtrace/snapshot"
	"github.com/crtrace/crtrace/tracer/procfs"
)

// After a fork, parent and child have the same pages until one of them writes.
// Which they still share can't be seen without privilege; but what is in the same
// place and has the same content may be shared again, as nobody can tell. So a page
// of the child that is like its parent's goes into the image as a reference, and a
// restore that forks the child from its parent need not fill it in.

// common is the parent of a process that is being collected.
type common struct {
	parent *target
	stored []procfs.Range // of its store; those below what was asked for are dropped
	buf    []byte
}

// forkedFrom returns the parent, in the tree, whose address space the process has
// copied: neither has executed a program since. nil: there is none.
func (t *target) forkedFrom() *target {
	parent := t.find(t.out.PPID)
	if parent == nil || parent.out.Exe != t.out.Exe || !bytes.Equal(parent.out.MM.Auxv, t.out.MM.Auxv) {
		return nil // the auxiliary vector tells where things are, which is at random for each execve
	}
	return parent
}

// shareWith has pages that are like the parent's refer to its store.
func (p *pages) shareWith(parent *target) {
	if parent == nil {
		return
	}
	p.store.SetBase(parent.out.MM.Store)
	p.parent = &common{parent: parent, stored: parent.stored, buf: make([]byte, copyLen)}
}

// copyCommon is copy for pages that other processes may have as well. They are left
// in common, and where they are like the parent's that is noted.
func (p *pages) copyCommon(ctx context.Context, start, end, base uint64) error {
	for start < end {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(end-start, uint64(len(p.buf)))
		var theirs []byte
		if p.parent != nil {
			n, theirs = p.parent.read(start, n)
		}
		mine := p.buf[:n]
		if err := p.t.proc.Mem.ReadGently(start, mine); err != nil {
			return err
		}
		if err := p.storeCommon(start-base, mine, theirs); err != nil {
			return err
		}
		start += n
	}
	return nil
}

// read returns how many of n bytes at an address belong together, and what the
// parent has there; nil where its store has no such pages.
func (c *common) read(at, n uint64) (uint64, []byte) {
	for len(c.stored) > 0 && c.stored[0].End <= at {
		c.stored = c.stored[1:]
	}
	switch {
	case len(c.stored) == 0:
		return n, nil
	case c.stored[0].Start > at:
		return min(n, c.stored[0].Start-at), nil
	}
	n = min(n, c.stored[0].End-at)
	if c.parent.proc.Mem.ReadGently(at, c.buf[:n]) != nil {
		return n, nil // not readable: no harm in a copy
	}
	return n, c.buf[:n]
}

// storeCommon stores a run of pages, but for those that are like the parent's.
func (p *pages) storeCommon(at uint64, mine, theirs []byte) error {
	const size = snapshot.PageSize
	like := func(n int) bool { return theirs != nil && bytes.Equal(mine[n:n+size], theirs[n:n+size]) }
	for from := 0; from < len(mine); {
		to, inherit := from+size, like(from)
		for to < len(mine) && like(to) == inherit {
			to += size
		}
		var err error
		if inherit {
			p.note(at+uint64(from), uint64(to-from))
			err = p.store.Inherit(at+uint64(from), uint64(to-from))
		} else {
			err = p.write(at+uint64(from), mine[from:to])
		}
		if err != nil {
			return err
		}
		from = to
	}
	return nil
}
