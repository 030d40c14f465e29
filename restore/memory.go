package restore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/crtrace/crtrace/snapshot"
	"golang.org/x/sys/unix"
)

// Calls and flags that x/sys/unix does not name on amd64.
const (
	mapFixedNoReplace = 0x100000
	madvGuardInstall  = 102
	prSetMMMap        = 14
	sysMlock2         = unix.SYS_MLOCK2
	mlockOnFault      = 1
)

// buildMemory rebuilds the address space.
func (p *process) buildMemory(ctx context.Context) error {
	if err := p.makeMemory(ctx); err != nil {
		return err
	}
	if err := p.finishAreas(); err != nil {
		return err
	}
	return p.describeMM()
}

// makeMemory gives the address space its areas and pages, in the state in which
// children can be forked from it: what a fork would not copy comes later. A second
// call does nothing.
func (p *process) makeMemory(ctx context.Context) error {
	if p.memory {
		return nil
	}
	p.memory = true
	var kept spans // what is there already
	var err error
	if p.origin != nil {
		kept, err = p.keepAreas()
	} else if err = p.stub.Strip(); err == nil {
		err = p.mapVDSO()
	}
	if err != nil {
		return err
	}
	if err = p.mapAreas(kept); err == nil {
		err = p.attachSegments()
	}
	if errors.Is(err, unix.ENOMEM) {
		return fmt.Errorf("%w (no room for its address space: see ulimit -v and vm.overcommit_memory)", err)
	}
	if err != nil {
		return err
	}
	return p.fillPages(ctx, kept)
}

// protBits translates the protection of the manifest.
func protBits(text string) uint64 {
	bits := uint64(0)
	for i, bit := range []uint64{unix.PROT_READ, unix.PROT_WRITE, unix.PROT_EXEC} {
		if text[i] != '-' {
			bits |= bit
		}
	}
	return bits
}

// hasFlag tells whether a VMA had one of the kernel's flags.
func hasFlag(v *snapshot.VMA, flag string) bool {
	return slices.Contains(strings.Fields(v.Flags), flag)
}

// mapAreas maps all areas but those that are there. Those that pages go into are
// writable for now.
func (p *process) mapAreas(kept spans) error {
	s := newScript(p.stub, p.stub.Leader())
	for i := range p.image.VMAs {
		v := &p.image.VMAs[i]
		if v.Kind == snapshot.VMAVDSO || p.isSegment(v) {
			continue
		}
		flags := uint64(mapFixedNoReplace | unix.MAP_PRIVATE)
		prot := protBits(v.Prot)
		if v.Shared {
			flags = mapFixedNoReplace | unix.MAP_SHARED
		} else {
			prot |= unix.PROT_WRITE
		}
		if hasFlag(v, "nr") {
			flags |= unix.MAP_NORESERVE
		}
		if hasFlag(v, "gd") {
			flags |= unix.MAP_GROWSDOWN
		}
		if !v.Shared && protBits(v.Prot)&unix.PROT_WRITE == 0 && !p.hasPages(v) {
			prot = protBits(v.Prot) // untouched reservations must not count as memory
		}
		fd := ^uint64(0)
		switch v.Kind {
		case snapshot.VMAAnon:
			flags |= unix.MAP_ANONYMOUS
		case snapshot.VMAFile:
			fd = uint64(p.broker.transfer[p.broker.files[fileUse{v.Object, v.Write}]])
		case snapshot.VMAShared:
			fd = uint64(p.broker.transfer[p.broker.shared[v.Object]])
		}
		kept.split(uint64(v.Start), uint64(v.End), func(from, to uint64, in bool) {
			if !in {
				s.add(fmt.Sprintf("map %s-%s %s", v.Start, v.End, v.Name), unix.SYS_MMAP,
					from, to-from, prot, flags, fd, uint64(v.Offset)+from-uint64(v.Start))
			}
		})
	}
	return s.run()
}

// hasPages tells whether the image has pages of an area.
func (p *process) hasPages(v *snapshot.VMA) bool {
	records := p.broker.stores[p.image.MM.Store].Records()
	i, _ := slices.BinarySearchFunc(records, uint64(v.Start), func(r snapshot.Record, at uint64) int {
		if r.Addr+r.Len() <= at {
			return -1
		}
		return 1
	})
	return i < len(records) && records[i].Addr < uint64(v.End)
}

// fillPages reads the pages from the image straight into their places. In areas that
// are there the pages of the base are already.
func (p *process) fillPages(ctx context.Context, kept spans) error {
	s := newScript(p.stub, p.stub.Leader())
	at := 0
	for _, piece := range p.broker.stores[p.image.MM.Store].Pieces() {
		if err := ctx.Err(); err != nil {
			return err
		}
		for ; at < len(p.image.VMAs) && uint64(p.image.VMAs[at].End) <= piece.Addr; at++ {
		}
		for i := at; i < len(p.image.VMAs) && uint64(p.image.VMAs[i].Start) < piece.Addr+piece.Len; i++ {
			v := &p.image.VMAs[i]
			if v.Kind == snapshot.VMAVDSO || v.Shared {
				continue
			}
			from, to := max(piece.Addr, uint64(v.Start)), min(piece.Addr+piece.Len, uint64(v.End))
			kept.split(from, to, func(from, to uint64, in bool) {
				if s.err == nil && (!in || !piece.Base) {
					s.err = p.fillPiece(s, v, piece, span{from, to}, in)
				}
			})
		}
	}
	return s.run()
}

// fillPiece fills the part of a piece that lies in an area at some addresses. there:
// they may hold something already.
func (p *process) fillPiece(s *script, v *snapshot.VMA, piece snapshot.Piece, at span, there bool) error {
	size := at.to - at.from
	switch {
	case piece.Store != nil:
		fd := uint64(p.broker.transfer[int(piece.Store.File().Fd())])
		s.add(fmt.Sprintf("read pages at 0x%x", at.from), unix.SYS_PREAD64, fd, at.from, size, uint64(piece.Offset)+at.from-piece.Addr)
		return s.err
	case v.Kind != snapshot.VMAAnon: // the file below may hold something else
		return p.stub.Mem.Write(at.from, make([]byte, size))
	case there:
		s.add(fmt.Sprintf("clear pages at 0x%x", at.from), unix.SYS_MADVISE, at.from, size, unix.MADV_DONTNEED)
	}
	return s.err
}

// advice are the kernel's flags of a VMA that madvise sets.
var advice = []struct {
	flag   string
	advice uint64
}{
	{"dc", unix.MADV_DONTFORK}, {"dd", unix.MADV_DONTDUMP}, {"wf", unix.MADV_WIPEONFORK},
	{"hg", unix.MADV_HUGEPAGE}, {"nh", unix.MADV_NOHUGEPAGE}, {"mg", unix.MADV_MERGEABLE},
	{"rr", unix.MADV_RANDOM}, {"sr", unix.MADV_SEQUENTIAL},
}

// finishAreas gives the areas their protection, advice and locks.
func (p *process) finishAreas() error {
	s := newScript(p.stub, p.stub.Leader())
	for i := range p.image.VMAs {
		v := &p.image.VMAs[i]
		if v.Kind == snapshot.VMAVDSO {
			continue
		}
		start, size := uint64(v.Start), uint64(v.End-v.Start)
		flags := strings.Fields(v.Flags)
		for _, g := range v.Guards {
			s.add("guard pages", unix.SYS_MADVISE, uint64(g.Start), uint64(g.End-g.Start), madvGuardInstall)
		}
		if !v.Shared {
			s.add("protect "+v.Start.String(), unix.SYS_MPROTECT, start, size, protBits(v.Prot))
		}
		for _, a := range advice {
			if !slices.Contains(flags, a.flag) {
				continue
			}
			if a.flag == "mg" || a.flag == "hg" || a.flag == "nh" {
				s.try(unix.SYS_MADVISE, start, size, a.advice) // the kernel may lack it
			} else {
				s.add("madvise "+v.Start.String(), unix.SYS_MADVISE, start, size, a.advice)
			}
		}
		switch {
		case slices.Contains(flags, "lf"):
			s.add("mlock2 "+v.Start.String(), sysMlock2, start, size, mlockOnFault)
		case slices.Contains(flags, "lo"):
			s.add("mlock "+v.Start.String(), unix.SYS_MLOCK, start, size)
		}
		p.nameArea(s, v)
	}
	return s.run()
}

// nameArea gives anonymous memory its name, where the kernel keeps names.
func (p *process) nameArea(s *script, v *snapshot.VMA) {
	name, ok := strings.CutPrefix(v.Name, "[anon:")
	if !ok {
		return
	}
	name = strings.TrimSuffix(name, "]")
	s.room(len(name) + 1)
	s.try(unix.SYS_PRCTL, unix.PR_SET_VMA, unix.PR_SET_VMA_ANON_NAME, uint64(v.Start), uint64(v.End-v.Start), s.text(name))
}

// describeMM tells the kernel where code, heap, stack, arguments and environment are.
func (p *process) describeMM() error {
	mm := &p.image.MM
	s := newScript(p.stub, p.stub.Leader())
	s.room(len(mm.Auxv) + 128)
	auxv := s.bytes(mm.Auxv)
	var b []byte // struct prctl_mm_map
	for _, v := range []snapshot.Hex{
		mm.StartCode, mm.EndCode, mm.StartData, mm.EndData, mm.StartBrk, mm.Brk, mm.StartStack,
		mm.ArgStart, mm.ArgEnd, mm.EnvStart, mm.EnvEnd, snapshot.Hex(auxv),
	} {
		b = binary.LittleEndian.AppendUint64(b, uint64(v))
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(len(mm.Auxv)))
	b = binary.LittleEndian.AppendUint32(b, ^uint32(0)) // exe_fd: as it is
	s.add("PR_SET_MM_MAP", unix.SYS_PRCTL, unix.PR_SET_MM, prSetMMMap, s.bytes(b), uint64(len(b)), 0)
	return s.run()
}

// call is one system call of the leader, for things that happen once.
func (p *process) call(what string, nr int, args ...uint64) (uint64, error) {
	v, err := p.stub.Leader().Call(nr, args...)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", what, err)
	}
	return v, nil
}
