package cli

import (
	"fmt"
	"io"

	"golang.org/x/arch/x86/x86asm"

	"github.com/crtrace/crtrace/parasite"
	"github.com/crtrace/crtrace/snapshot"
)

// aroundRIP is how many bytes of code are shown from the instruction pointer on.
// Backwards there is no telling where instructions begin, but for the system
// call that a thread is in, which is two bytes long.
const aroundRIP = 32

// disassemble prints machine code, one instruction a line. Bytes that are no
// instruction are shown as such.
func disassemble(w io.Writer, code []byte, addr uint64, mode int) {
	for len(code) > 0 {
		n, text := 1, "(bad)"
		if inst, err := x86asm.Decode(code, mode); err == nil && inst.Op != 0 && inst.Len > 0 && inst.Len <= len(code) {
			n, text = inst.Len, x86asm.GNUSyntax(inst, addr, nil)
		}
		fmt.Fprintf(w, "    %x\t%x\t%s\n", addr, code[:n], text)
		code, addr = code[n:], addr+uint64(n)
	}
}

// printParasite prints the code that runs inside stopped processes.
func printParasite(w io.Writer) {
	for _, p := range []struct {
		name  string
		piece parasite.Piece
	}{
		{"calls inside a program that goes on", parasite.Call()},
		{"batches inside a process that is being rebuilt", parasite.Batch()},
	} {
		code := p.piece.Bytes
		split := min(max(p.piece.Entry32, 0), len(code))
		fmt.Fprintf(w, "\ncode for %s, 64-bit\n", p.name)
		disassemble(w, code[:split], 0, 64)
		fmt.Fprintf(w, "\ncode for %s, 32-bit\n", p.name)
		disassemble(w, code[split:], uint64(split), 32)
	}
}

// disassembleThreads prints the code at each thread's instruction pointer. The
// pages of files are not in the image; then that is said.
func disassembleThreads(w io.Writer, im *snapshot.Image, p *snapshot.Process) error {
	store, err := im.Store(p.MM.Store)
	if err != nil {
		return err
	}
	defer store.Close()
	for i := range p.Threads {
		t := &p.Threads[i]
		mode, at := 64, t.Regs.Rip
		if t.Regs.Compat() {
			mode = 32
		}
		fmt.Fprintf(w, "  code of thread %d\n", t.TID)
		code, err := codeAt(store, at)
		if err != nil {
			return err
		}
		if code == nil {
			fmt.Fprintf(w, "    %x\tnot in the image: %s\n", at, escape(placeName(im.Manifest, p, at)))
			continue
		}
		disassemble(w, code, at, mode)
	}
	return nil
}

// codeAt reads some bytes of a process at addr, nil when they are not stored.
func codeAt(store *snapshot.StoreReader, addr uint64) ([]byte, error) {
	for _, r := range store.Records() {
		if addr < r.Addr || addr-r.Addr >= r.Len() || r.Zero {
			continue
		}
		data, err := store.ReadRecord(r, nil)
		if err != nil {
			return nil, err
		}
		from := min(addr-r.Addr, uint64(len(data)))
		return data[from:min(from+aroundRIP, uint64(len(data)))], nil
	}
	return nil, nil
}

// placeName says which memory area an address lies in.
func placeName(m *snapshot.Manifest, p *snapshot.Process, addr uint64) string {
	for i := range p.VMAs {
		if v := &p.VMAs[i]; addr >= uint64(v.Start) && addr < uint64(v.End) {
			return fmt.Sprintf("%s, offset %#x", areaName(m, v), addr-uint64(v.Start)+uint64(v.Offset))
		}
	}
	return "no memory there"
}
