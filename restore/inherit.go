package restore

import (
	"slices"

	"github.com/crtrace/crtrace/snapshot"
	"golang.org/x/sys/unix"
)

// A process that was forked and has executed nothing since has pages in common with
// its parent, which no other way than a fork can bring about again. So its parent's
// memory is built before it is forked; then it only changes what is different.

// inherits tells whether a process is to be forked from its parent with the parent's
// memory.
func (p *process) inherits(parent *process) bool {
	return p.run.m.ForkedFrom(p.image) == parent.image && slices.EqualFunc(vdsoAreas(p.image), vdsoAreas(parent.image), sameVDSO)
}

// vdsoAreas returns the areas that the kernel has made for itself.
func vdsoAreas(image *snapshot.Process) []snapshot.VMA {
	return slices.DeleteFunc(slices.Clone(image.VMAs), func(v snapshot.VMA) bool { return v.Kind != snapshot.VMAVDSO })
}

// sameArea tells whether two areas are one mapping, wherever they begin and end.
func sameArea(a, b snapshot.VMA) bool {
	return a.Kind == b.Kind && a.Object == b.Object && (a.Kind == snapshot.VMAAnon || a.Start-a.Offset == b.Start-b.Offset) &&
		a.Shared == b.Shared && a.Write == b.Write && (!a.Shared || a.Prot == b.Prot) &&
		hasFlag(&a, "nr") == hasFlag(&b, "nr") && hasFlag(&a, "gd") == hasFlag(&b, "gd")
}

// sameVDSO tells whether an area of the kernel's is in its place.
func sameVDSO(a, b snapshot.VMA) bool {
	return a.Start == b.Start && a.End == b.End && a.Name == b.Name
}

// span is a half-open range of addresses.
type span struct{ from, to uint64 }

// spans are ranges that ascend and do not overlap.
type spans []span

// split calls fn for the parts of a range that lie in the spans, and those that do
// not.
func (s spans) split(from, to uint64, fn func(from, to uint64, in bool)) {
	i, _ := slices.BinarySearchFunc(s, from, func(p span, at uint64) int {
		if p.to <= at {
			return -1
		}
		return 1
	})
	for from < to {
		end, in := to, false
		switch {
		case i == len(s) || s[i].from >= to:
		case s[i].from > from:
			end = s[i].from
		default:
			end, in = min(to, s[i].to), true
			i++
		}
		fn(from, end, in)
		from = end
	}
}

// add appends a range that lies above all others.
func (s *spans) add(from, to uint64) {
	if last := len(*s) - 1; last >= 0 && (*s)[last].to == from {
		(*s)[last].to = to
		return
	}
	*s = append(*s, span{from, to})
}

// keepAreas removes from the address space that was inherited what the process does
// not have, and returns what is left.
func (p *process) keepAreas() (spans, error) {
	kept := p.commonAreas()
	s := newScript(p.stub, p.stub.Leader())
	for _, v := range p.origin.image.VMAs {
		kept.split(uint64(v.Start), uint64(v.End), func(from, to uint64, in bool) {
			if !in {
				s.add("unmap "+v.Start.String(), unix.SYS_MUNMAP, from, to-from)
			}
		})
	}
	for i := range p.image.VMAs {
		v := &p.image.VMAs[i]
		if v.Kind == snapshot.VMAVDSO || v.Shared || !p.hasPages(v) {
			continue
		}
		kept.split(uint64(v.Start), uint64(v.End), func(from, to uint64, in bool) {
			if in {
				s.add("protect "+v.Start.String(), unix.SYS_MPROTECT, from, to-from, protBits(v.Prot)|unix.PROT_WRITE)
			}
		})
	}
	p.dropPages(s, kept)
	return kept, s.run()
}

// commonAreas returns where the process and its parent have the same mapped. System V
// segments are attached anew, as each process has its own parts of them.
func (p *process) commonAreas() spans {
	var kept spans
	theirs := p.origin.image.VMAs
	for _, v := range p.image.VMAs {
		if p.isSegment(&v) {
			continue
		}
		for len(theirs) > 0 && theirs[0].End <= v.Start {
			theirs = theirs[1:]
		}
		for n := 0; n < len(theirs) && theirs[n].Start < v.End; n++ {
			if sameArea(v, theirs[n]) && (v.Kind != snapshot.VMAVDSO || sameVDSO(v, theirs[n])) {
				kept.add(uint64(max(v.Start, theirs[n].Start)), uint64(min(v.End, theirs[n].End)))
			}
		}
	}
	return kept
}

// dropPages removes the pages of the parent that the process does not have.
func (p *process) dropPages(s *script, kept spans) {
	var mine spans
	for _, piece := range p.broker.stores[p.image.MM.Store].Pieces() {
		mine.add(piece.Addr, piece.Addr+piece.Len)
	}
	drop := func(from, to uint64, in bool) {
		if in {
			s.add("drop pages", unix.SYS_MADVISE, from, to-from, unix.MADV_DONTNEED)
		}
	}
	for _, theirs := range p.broker.stores[p.origin.image.MM.Store].Pieces() {
		mine.split(theirs.Addr, theirs.Addr+theirs.Len, func(from, to uint64, in bool) {
			if !in {
				kept.split(from, to, drop)
			}
		})
	}
}
