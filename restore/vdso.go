package restore

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"

	"github.com/crtrace/crtrace/regs"
	"github.com/crtrace/crtrace/snapshot"
	"github.com/crtrace/crtrace/tracer/procfs"
	"golang.org/x/sys/unix"
)

// mapVDSO puts the kernel's vdso where the program knows it. The program has the
// addresses of its functions in its memory; where this kernel's vdso differs, the
// old one comes back from the image as ordinary memory, its functions redirected
// to the new one, which lies elsewhere.
func (p *process) mapVDSO() error {
	var old []snapshot.VMA
	for _, v := range p.image.VMAs {
		if v.Kind == snapshot.VMAVDSO {
			old = append(old, v)
		}
	}
	if len(old) == 0 {
		return nil // the program had unmapped it
	}
	text, err := p.oldVDSO(old)
	if err != nil {
		return err
	}
	if !p.run.plan.o.RedirectVDSO {
		fits, err := p.tryVDSO(old, text)
		if err != nil || fits {
			return err
		}
	}
	return p.redirectVDSO(old, text)
}

// oldVDSO returns the vdso that the program ran with, from the image.
func (p *process) oldVDSO(old []snapshot.VMA) ([]byte, error) {
	for _, v := range old {
		if v.Name != "[vdso]" {
			continue
		}
		text := make([]byte, v.End-v.Start)
		store := p.broker.stores[p.image.MM.Store]
		for _, r := range store.Records() {
			if r.Zero || r.Addr >= uint64(v.End) || r.Addr+r.Len() <= uint64(v.Start) {
				continue
			}
			data, err := store.ReadRecord(r, nil)
			if err != nil {
				return nil, err
			}
			from := max(r.Addr, uint64(v.Start))
			copy(text[from-uint64(v.Start):], data[from-r.Addr:])
		}
		return text, nil
	}
	return nil, errors.New("the image has vvar but no vdso")
}

// callMapVDSO asks the kernel for its vdso at an address.
func (p *process) callMapVDSO(at uint64) error {
	const archMapVDSO32, archMapVDSO64 = 0x2002, 0x2003
	which := uint64(archMapVDSO64)
	if p.image.Compat {
		which = archMapVDSO32
	}
	if _, err := p.stub.Leader().Call(unix.SYS_ARCH_PRCTL, which, at); err != nil {
		return fmt.Errorf("map the vdso at 0x%x: %w", at, err)
	}
	return nil
}

// tryVDSO maps this kernel's vdso at the old place and tells whether it is the
// same one. If not, it is removed again.
func (p *process) tryVDSO(old []snapshot.VMA, text []byte) (bool, error) {
	if err := p.callMapVDSO(uint64(old[0].Start)); err != nil {
		return false, err
	}
	now, err := p.vdsoAreas()
	if err != nil {
		return false, err
	}
	same := len(now) == len(old)
	for i := range now {
		if !same {
			break
		}
		same = now[i].Path == old[i].Name && now[i].Start == uint64(old[i].Start) && now[i].End == uint64(old[i].End)
		if same && now[i].Path == "[vdso]" {
			same, err = p.sameText(now[i].Start, text)
			if err != nil {
				return false, err
			}
		}
	}
	if same {
		return true, nil
	}
	for _, m := range now {
		if _, err := p.call("unmap the vdso", unix.SYS_MUNMAP, m.Start, m.End-m.Start); err != nil {
			return false, err
		}
	}
	return false, nil
}

// vdsoAreas lists what the process has of the kernel's vdso.
func (p *process) vdsoAreas() ([]procfs.Mapping, error) {
	maps, err := procfs.ReadMaps(p.stub.PID)
	if err != nil {
		return nil, err
	}
	var out []procfs.Mapping
	for _, m := range maps {
		if m.Path == "[vdso]" || m.Path == "[vvar]" || m.Path == "[vvar_vclock]" {
			out = append(out, m)
		}
	}
	return out, nil
}

// sameText compares this kernel's vdso with the old one, as far as the ELF image
// goes: what lies behind it is not part of it.
func (p *process) sameText(at uint64, old []byte) (bool, error) {
	now := make([]byte, len(old))
	if err := p.stub.Mem.Read(at, now); err != nil {
		return false, err
	}
	end := len(bytes.TrimRight(now, "\x00"))
	return bytes.Equal(now[:end], old[:end]), nil
}

// redirectVDSO maps this kernel's vdso at a free place and leads the old
// functions there.
func (p *process) redirectVDSO(old []snapshot.VMA, text []byte) error {
	for i := range p.image.Threads {
		r := &p.image.Threads[i].Regs
		for _, v := range old {
			if r.Rip >= uint64(v.Start) && r.Rip < uint64(v.End) && !p.image.Compat {
				return fmt.Errorf("thread %d was inside the vdso of another kernel; restore on kernel %s, or take another checkpoint there",
					p.image.Threads[i].TID, p.run.m.Host.Kernel)
			}
		}
	}
	at, err := p.freeAddress(1 << 20)
	if err != nil {
		return err
	}
	if err := p.callMapVDSO(at); err != nil {
		return err
	}
	now, err := p.vdsoAreas()
	if err != nil {
		return err
	}
	for _, m := range now {
		if m.Path == "[vdso]" {
			image := make([]byte, m.End-m.Start)
			if err := p.stub.Mem.Read(m.Start, image); err != nil {
				return err
			}
			return p.mapOldVDSO(old, text, image, m.Start)
		}
	}
	return errors.New("the kernel has mapped no vdso")
}

// mapOldVDSO maps the old vdso as private memory with redirected functions.
func (p *process) mapOldVDSO(old []snapshot.VMA, text, image []byte, newBase uint64) error {
	var base, end uint64
	for _, v := range old {
		if v.Name == "[vdso]" {
			base, end = uint64(v.Start), uint64(v.End)
		}
	}
	if err := redirect(text, image, base, newBase, p.image.Compat); err != nil {
		return err
	}
	const flags = mapFixedNoReplace | unix.MAP_PRIVATE | unix.MAP_ANONYMOUS
	_, err := p.call("map the old vdso", unix.SYS_MMAP, base, end-base, unix.PROT_READ|unix.PROT_EXEC, flags, ^uint64(0), 0)
	if err != nil {
		return err
	}
	return p.stub.Mem.Write(base, text)
}

// redirect overwrites the entry of every function of an old vdso image with a
// jump to the function of the same name in the new one. A function that this
// kernel does not have fails with ENOSYS, upon which libraries make the system
// call.
func redirect(old, now []byte, oldBase, newBase uint64, compat bool) error {
	from, err := functions(old)
	if err != nil {
		return fmt.Errorf("vdso in the image: %w", err)
	}
	to, err := functions(now)
	if err != nil {
		return fmt.Errorf("vdso of this kernel: %w", err)
	}
	for name, at := range from {
		target, ok := to[name]
		var code []byte
		switch {
		case !ok:
			code = regs.ReturnError(uint32(unix.ENOSYS))
		case compat:
			code = regs.Jump32(uint32(oldBase+at), uint32(newBase+target))
		default:
			code = regs.Jump64(newBase + target)
		}
		if at > uint64(len(old)) || uint64(len(code)) > uint64(len(old))-at {
			return fmt.Errorf("vdso in the image: function %s lies outside", name)
		}
		copy(old[at:], code)
	}
	return nil
}

// functions returns the functions that a vdso exports, by name.
func functions(image []byte) (map[string]uint64, error) {
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return nil, err
	}
	symbols, err := f.DynamicSymbols()
	if err != nil {
		return nil, err
	}
	out := map[string]uint64{}
	for _, s := range symbols {
		if elf.ST_TYPE(s.Info) == elf.STT_FUNC && s.Section != elf.SHN_UNDEF {
			out[s.Name] = s.Value
		}
	}
	return out, nil
}
