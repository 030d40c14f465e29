package tracer

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"syscall"

	"github.com/crtrace/crtrace/parasite"
	"github.com/crtrace/crtrace/regs"
	"github.com/crtrace/crtrace/tracer/procfs"
	"golang.org/x/sys/unix"
)

// scratchLen is the size of the scratch area that a Remote maps, in bytes.
const scratchLen = 16 << 10

// Remote makes system calls inside a stopped program that goes on afterwards.
//
// The code lies in the unused end of the vdso's last page, of which the process
// gets a private copy, so nothing has to be mapped before the first call. A
// scratch area for arguments and results exists until Close. If the tracer dies,
// package parasite's code undoes all of it: the leader stays inside the parasite
// from before the area is mapped until after it is unmapped, and has a slot of
// its own; the other threads are inside one after the other and share a slot.
type Remote struct {
	Area uint64 // scratch area in the program, scratchLen bytes

	proc *Process
	code uint64 // address of parasite.Call in the vdso
	slot uint64 // address of the leader's slot; the other one follows it
	cur  *Task  // thread, not the leader, that is inside the parasite
}

// Remote prepares calls inside the process. It must be closed before Release.
func (p *Process) Remote() (*Remote, error) {
	maps, err := procfs.ReadMaps(p.PID)
	if err != nil {
		return nil, err
	}
	r := &Remote{proc: p}
	if err := r.place(maps); err != nil {
		return nil, err
	}
	if r.Area, err = freeArea(maps, scratchLen); err != nil {
		return nil, fmt.Errorf("process %d: %w", p.PID, err)
	}
	if err := p.Mem.Write(r.code, parasite.Call().Bytes); err != nil {
		return nil, err
	}
	const flags = unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | mapFixedNoReplace
	_, err = r.Call(p.Leader(), unix.SYS_MMAP, r.Area, scratchLen,
		unix.PROT_READ|unix.PROT_WRITE, flags, ^uint64(0), 0)
	if err != nil {
		area := r.Area
		r.Area = 0 // nothing to unmap
		return nil, errors.Join(fmt.Errorf("scratch area at 0x%x: %w", area, err), r.Close())
	}
	return r, nil
}

// mapFixedNoReplace is MAP_FIXED_NOREPLACE: a mistake in a layout becomes an error.
const mapFixedNoReplace = 0x100000

// place finds room for code and slots.
func (r *Remote) place(maps []procfs.Mapping) error {
	room, err := findRoom(maps, r.proc.Mem)
	if err != nil {
		return fmt.Errorf("process %d: %w", r.proc.PID, err)
	}
	if room.Start+parasiteLen(1) > room.End {
		return fmt.Errorf("process %d: its vdso has no room for %d bytes", r.proc.PID, parasiteLen(1))
	}
	r.code = room.Start
	turn, err := r.nextTurn(room)
	r.slot = room.Start + codeLen + turn*slots*parasite.SlotSize
	return err
}

// codeLen is the room of the code; its last byte counts the turns.
const codeLen = 176

// slots is the number of slots of a Remote. Successive Remotes of a process take
// turns with their slots: when a tracer was killed, a thread that is still on its
// way back reads its slot a little later, for instance after a signal handler.
const slots, maxTurns = 2, 3

// parasiteLen is the room that code and slots for some turns take, in bytes.
func parasiteLen(turns uint64) uint64 { return codeLen + turns*slots*parasite.SlotSize }

// turnsIn returns how many turns fit into a room.
func turnsIn(room procfs.Range) uint64 {
	turns := uint64(maxTurns)
	for turns > 1 && room.Start+parasiteLen(turns) > room.End {
		turns--
	}
	return turns
}

// nextTurn returns whose turn it is and passes it on.
func (r *Remote) nextTurn(room procfs.Range) (uint64, error) {
	var counter [1]byte
	at := room.Start + codeLen - 1
	if err := r.proc.Mem.Read(at, counter[:]); err != nil {
		return 0, err
	}
	counter[0]++
	return uint64(counter[0]) % turnsIn(room), r.proc.Mem.Write(at, counter[:])
}

// findRoom returns the unused end of the vdso's last page.
func findRoom(maps []procfs.Mapping, mem *Memory) (procfs.Range, error) {
	for _, m := range maps {
		if m.Path != "[vdso]" {
			continue
		}
		image := make([]byte, m.End-m.Start)
		if err := mem.Read(m.Start, image); err != nil {
			return procfs.Range{}, err
		}
		used, err := elfEnd(image)
		if err != nil {
			return procfs.Range{}, fmt.Errorf("vdso: %w", err)
		}
		return procfs.Range{Start: m.Start + (used+15)&^15, End: m.End}, nil
	}
	return procfs.Range{}, errors.New("there is no vdso (it was unmapped, or the kernel runs with vdso=0)")
}

// elfEnd returns where an ELF image ends: behind its section header table, which
// linkers put last.
func elfEnd(image []byte) (uint64, error) {
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return 0, err
	}
	const shoff64, shoff32 = 0x28, 0x20
	var off, size uint64
	switch f.Class {
	case elf.ELFCLASS64:
		off, size = le(image[shoff64:], 8), le(image[0x3a:], 2)*le(image[0x3c:], 2)
	default:
		off, size = le(image[shoff32:], 4), le(image[0x2e:], 2)*le(image[0x30:], 2)
	}
	end := off + size
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD {
			end = max(end, p.Off+p.Filesz)
		}
	}
	if off > uint64(len(image)) || end > uint64(len(image)) {
		return 0, fmt.Errorf("its ELF image claims %d bytes of %d", end, len(image))
	}
	return end, nil
}

// freeArea returns an address with size free bytes and a free page on both
// sides. It begins far from where programs and the kernel put their mappings.
func freeArea(maps []procfs.Mapping, size uint64) (uint64, error) {
	const lowest, highest, page = 0x1000_0000, 0xf000_0000, 0x1000
	at := uint64(lowest)
	for _, m := range maps {
		if m.End+page <= at {
			continue
		}
		if at+size+page <= m.Start {
			break
		}
		at = (m.End + 2*page - 1) &^ (page - 1)
	}
	if at+size > highest {
		return 0, errors.New("no free addresses below 4 GiB")
	}
	return at, nil
}

// Call makes one 64-bit system call in a thread and returns its result. A call
// that fails returns a *RemoteError.
func (r *Remote) Call(t *Task, nr int, a ...uint64) (uint64, error) {
	return r.call(t, nr, parasite.Call().Entry, func(reg *regs.AMD64) {
		for i, at := range args64(reg) {
			if i < len(a) {
				*at = a[i]
			}
		}
	})
}

// Call32 makes one system call of the 32-bit table.
func (r *Remote) Call32(t *Task, nr int, a ...uint64) (uint64, error) {
	return r.call(t, nr, parasite.Call().Entry32, func(reg *regs.AMD64) {
		for i, at := range args32(reg) {
			if i < len(a) {
				*at = a[i]
			}
		}
	})
}

func (r *Remote) call(t *Task, nr, entry int, set func(*regs.AMD64)) (uint64, error) {
	slot, err := r.enter(t)
	if err != nil {
		return 0, err
	}
	reg := t.regs
	reg.Cs, reg.Ss = regs.UserCS64, regs.UserSS
	reg.Rip, reg.Rsp = r.code+uint64(entry), slot
	reg.Rax, reg.OrigRax = uint64(nr), ^uint64(0)
	set(&reg)
	if !t.injected {
		t.slot, t.back = slot, r.code+uint64(parasite.Call().Back)
		t.injected = true
		if err := t.turnBack(^uint64(0)); err != nil {
			return 0, err
		}
	}
	if err := setRegs(t.TID, &reg); err != nil {
		return 0, err
	}
	for range 2 { // entry and exit of the call
		if err := t.nextSyscallStop(); err != nil {
			return 0, err
		}
	}
	after, err := getRegs(t.TID)
	if err != nil {
		return 0, err
	}
	if result := int64(after.Rax); result < 0 && result > -4096 {
		return 0, &RemoteError{TID: t.TID, Call: fmt.Sprintf("system call %d", nr), Errno: syscall.Errno(-result)}
	}
	return after.Rax, nil
}

// enter brings t into the parasite and returns the address of its slot. The
// thread that shares the slot with it is put right first.
func (r *Remote) enter(t *Task) (slot uint64, err error) {
	slot = r.slot
	if !t.leader() {
		slot += parasite.SlotSize
		if r.cur != nil && r.cur != t {
			if err := r.cur.restore(); err != nil {
				return 0, err
			}
		}
		r.cur = t
	}
	if t.injected {
		return slot, nil
	}
	g := t.regs
	if t.call != nil {
		g = Rewind(g) // nobody but a tracer can have the kernel restart the call; with its whole time-out
	}
	s := parasite.Slot{
		Mask: t.mask, Socket: -1,
		Rax: g.Rax, Rbx: g.Rbx, Rcx: g.Rcx, Rdx: g.Rdx, Rsi: g.Rsi, Rdi: g.Rdi, Rbp: g.Rbp,
		R8: g.R8, R9: g.R9, R10: g.R10, R11: g.R11,
		Rip: g.Rip, Cs: g.Cs, Eflags: g.Eflags, Rsp: g.Rsp, Ss: g.Ss,
	}
	if t.leader() {
		s.Area, s.AreaLen = r.Area, scratchLen
	}
	return slot, r.proc.Mem.Write(slot, s.Append(nil))
}

// guard has the leader give a socket its low-water mark back if the tracer dies from
// now on; socket -1 ends that. The leader is in the parasite as long as there is a
// scratch area.
func (r *Remote) guard(socket, lowWater int) error {
	s := parasite.Slot{Socket: int64(socket), LowWater: int64(lowWater)}
	return r.proc.Mem.Write(r.slot+parasite.GuardOffset, s.AppendGuard(nil))
}

// nextSyscallStop runs the thread to its next syscall stop.
func (t *Task) nextSyscallStop() error {
	for {
		if err := resume(unix.PTRACE_SYSCALL, t.TID, 0); err != nil {
			return err
		}
		s, err := wait(t.TID, t.leader())
		if err != nil {
			return err
		}
		switch s.kind {
		case stopSyscall:
			return nil
		case stopGone:
			t.proc.gone = t.proc.gone || t.leader()
			return fmt.Errorf("task %d: %w", t.TID, ErrTaskGone)
		case stopSignal:
			t.hold(s.sig)
		}
	}
}

// Close removes the scratch area and puts the threads right that are still inside.
func (r *Remote) Close() error {
	var errs []error
	if r.cur != nil {
		errs = append(errs, r.cur.restore())
	}
	leader := r.proc.Leader()
	if r.Area != 0 {
		if _, err := r.Call(leader, unix.SYS_MUNMAP, r.Area, scratchLen); err != nil {
			errs = append(errs, fmt.Errorf("unmap the scratch area: %w", err))
		}
	}
	return errors.Join(append(errs, leader.restore())...)
}
