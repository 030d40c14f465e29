// Package parasite holds the few bytes of machine code that run inside a
// stopped process, and the memory contract between them and the tracer. It
// knows nothing of ptrace.
//
// There are two pieces of code.
//
// Call serves a program that goes on afterwards. The tracer lets it issue one
// system call at a time and takes the thread back at the exit stop of the call.
// A syscall stop exists only while there is a tracer: should the tracer die, the
// thread falls through into code that undoes what must not stay, removes the
// scratch area, restores the signal mask and all registers from the Slot and jumps back to where the
// program was (iretq, which restores instruction pointer, flags and stack
// pointer at once). It uses no stack and touches none of the program's memory:
// a goroutine's stack has no room below its stack pointer, so nothing may be
// written there. Floating-point state is never touched. The Slot needs only to
// be readable. Every thread that is inside Call has a Slot of its own.
//
// Batch serves a process that is being rebuilt and that dies with the tracer:
// it runs through an array of Records and stops at a breakpoint.
//
// Both are position-independent: no operand is relative to the instruction
// pointer and no branch leaves the code.
package parasite

import "encoding/binary"

// SlotSize is the size of an encoded Slot in bytes.
const SlotSize = 168

// Slot is what Call restores when its tracer is gone.
type Slot struct {
	Area, AreaLen uint64 // scratch area to unmap; AreaLen 0: none
	Mask          uint64 // signal mask

	Rax, Rbx, Rcx, Rdx, Rsi, Rdi, Rbp uint64
	R8, R9, R10, R11                  uint64
	Rip, Cs, Eflags, Rsp, Ss          uint64

	// Socket is a descriptor that gets LowWater as its SO_RCVLOWAT; negative: none.
	Socket, LowWater int64
}

// GuardOffset is where Socket and LowWater lie in an encoded slot.
const GuardOffset = 152

// AppendGuard appends what a slot has at GuardOffset.
func (s *Slot) AppendGuard(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(s.Socket))
	return binary.LittleEndian.AppendUint64(b, uint64(s.LowWater))
}

// Append appends the encoded slot to b.
func (s *Slot) Append(b []byte) []byte {
	for _, v := range [...]uint64{
		s.Area, s.AreaLen, s.Mask,
		s.Rax, s.Rbx, s.Rcx, s.Rdx, s.Rsi, s.Rdi, s.R8, s.R9, s.R10, s.R11, s.Rbp,
		s.Rip, s.Cs, s.Eflags, s.Rsp, s.Ss,
	} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return s.AppendGuard(b)
}

// RecordSize is the size of an encoded Record in bytes.
const RecordSize = 72

// Record is one system call of a batch.
type Record struct {
	NR   uint64
	Args [6]uint64
	// Stop ends the batch when the call fails.
	Stop bool
}

// Append appends the encoded record to b.
func (r *Record) Append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, r.NR)
	for _, a := range r.Args {
		b = binary.LittleEndian.AppendUint64(b, a)
	}
	b = binary.LittleEndian.AppendUint64(b, 0)
	stop := uint64(0)
	if r.Stop {
		stop = 1
	}
	return binary.LittleEndian.AppendUint64(b, stop)
}

// Result returns the result of the encoded record at the start of b.
func Result(b []byte) int64 { return int64(binary.LittleEndian.Uint64(b[56:])) }

// Piece is one piece of code with its entry points, as offsets into Bytes.
type Piece struct {
	Bytes   []byte
	Entry   int // for the 64-bit system call table
	Entry32 int // for the 32-bit system call table (int $0x80)
	// Back (of Call) is where the way back to the program begins: with the
	// program's own stack pointer, and BP at the slot. A thread that stands there
	// may go on at any moment, whether its signals are blocked or not.
	Back int
}

// Code returns all code, piece after piece, for disassembly.
func Code() []byte { return append(append([]byte(nil), Call().Bytes...), Batch().Bytes...) }
