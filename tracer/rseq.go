package tracer

import "encoding/binary"

// leaveCriticalSection takes a thread that stopped inside a restartable sequence
// to the sequence's abort handler, as the kernel does when it preempts the
// thread. The kernel would do it too when the thread goes on, but not once an
// injected call has led the thread out of the sequence in between: it forgets
// the sequence then, and the program would finish it on the wrong CPU.
func (t *Task) leaveCriticalSection() error {
	if t.rseq.Pointer == 0 {
		return nil
	}
	// struct rseq { u32 cpu_id_start, cpu_id; u64 rseq_cs; ... };
	// struct rseq_cs { u32 version, flags; u64 start_ip, post_commit_offset, abort_ip; }
	// (include/uapi/linux/rseq.h)
	var pointer [8]byte
	if err := t.proc.Mem.Read(t.rseq.Pointer+8, pointer[:]); err != nil {
		return err
	}
	at := binary.LittleEndian.Uint64(pointer[:])
	if at == 0 {
		return nil
	}
	var cs [32]byte
	if err := t.proc.Mem.Read(at, cs[:]); err != nil {
		return nil // a wild pointer is the program's own affair
	}
	start := binary.LittleEndian.Uint64(cs[8:])
	length := binary.LittleEndian.Uint64(cs[16:])
	abort := binary.LittleEndian.Uint64(cs[24:])
	if t.regs.Rip-start >= length || t.regs.InSyscall() {
		return nil
	}
	r := t.regs
	r.Rip = abort
	if err := setRegs(t.TID, &r); err != nil {
		return err
	}
	t.regs = r
	return nil
}
