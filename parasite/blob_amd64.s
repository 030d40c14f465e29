#include "textflag.h"

// Offsets into the slot; parasite.Slot writes it in this order.
#define SLOT_AREA   0
#define SLOT_LEN    8
#define SLOT_MASK  16
#define SLOT_RAX   24
#define SLOT_RBX   32
#define SLOT_RCX   40
#define SLOT_RDX   48
#define SLOT_RSI   56
#define SLOT_RDI   64
#define SLOT_R8    72
#define SLOT_R9    80
#define SLOT_R10   88
#define SLOT_R11   96
#define SLOT_RBP  104
#define SLOT_IRET 112
#define SLOT_RSP  136 // in the iret frame
#define SLOT_SOCKET 152
#define SLOT_LOWAT  160

// Offsets into a record of a batch.
#define REC_NR    0
#define REC_A0    8
#define REC_A1   16
#define REC_A2   24
#define REC_A3   32
#define REC_A4   40
#define REC_A5   48
#define REC_RET  56
#define REC_STOP 64
#define REC_SIZE 72

// Four ud2 mark the end of a piece; they are not part of it.
#define END_MARK \
	BYTE $0x0F; BYTE $0x0B; BYTE $0x0F; BYTE $0x0B; \
	BYTE $0x0F; BYTE $0x0B; BYTE $0x0F; BYTE $0x0B

#define SYS_MUNMAP      11
#define SYS_SETSOCKOPT  54
#define SYS_RTSIGMASK   14

// call issues one system call for the tracer. SP points at the slot. With a
// tracer the thread never gets past the exit stop of the call; without one it
// falls through, gives a socket its low-water mark back (SO_RCVLOWAT, if it has
// one to give), takes down the scratch area, gives the signal mask back and goes on where the program was interrupted. Signals that were pending are
// delivered when the mask comes back: SP is the program's own by then, and the
// slot is found by BP. LEAVE gives BP back and points SP at the iret frame at
// once, so that only one instruction lies between the program's stack pointer
// and its return.
TEXT ·call(SB),NOSPLIT|NOFRAME,$0-0
	SYSCALL
away:
	BYTE $0x48; BYTE $0x89; BYTE $0xE5 // MOVQ SP, BP, which vet takes for a function's fault
	MOVQ SLOT_SOCKET(BP), DI
	TESTQ DI, DI
	JMI  unmap
	MOVQ $SYS_SETSOCKOPT, AX
	MOVQ $1, SI  // SOL_SOCKET
	MOVQ $18, DX // SO_RCVLOWAT
	LEAQ SLOT_LOWAT(BP), R10
	MOVQ $4, R8
	SYSCALL
unmap:
	MOVQ $SYS_MUNMAP, AX
	MOVQ SLOT_AREA(BP), DI
	MOVQ SLOT_LEN(BP), SI
	SYSCALL
	MOVQ SLOT_RSP(BP), SP
	MOVQ $SYS_RTSIGMASK, AX
	MOVQ $2, DI
	LEAQ SLOT_MASK(BP), SI
	MOVQ $0, DX
	MOVQ $8, R10
	SYSCALL
	MOVQ SLOT_RAX(BP), AX
	MOVQ SLOT_RBX(BP), BX
	MOVQ SLOT_RCX(BP), CX
	MOVQ SLOT_RDX(BP), DX
	MOVQ SLOT_RSI(BP), SI
	MOVQ SLOT_RDI(BP), DI
	MOVQ SLOT_R8(BP), R8
	MOVQ SLOT_R9(BP), R9
	MOVQ SLOT_R10(BP), R10
	MOVQ SLOT_R11(BP), R11
	BYTE $0x48; BYTE $0x8D; BYTE $0x6D; BYTE $SLOT_RBP // LEAQ SLOT_RBP(BP), BP
	BYTE $0xC9 // LEAVE
	IRETQ

	// The entry for calls of the 32-bit table, at parasite.Call32.
	INT  $0x80
	JMP  away
	END_MARK

// batch issues the calls of an array of records: R12 is the first record, R13
// the number of records. It ends with a breakpoint: R13 is zero when all were
// done, else R12 is the record that failed.
TEXT ·batch(SB),NOSPLIT|NOFRAME,$0-0
next:
	MOVQ REC_NR(R12), AX
	MOVQ REC_A0(R12), DI
	MOVQ REC_A1(R12), SI
	MOVQ REC_A2(R12), DX
	MOVQ REC_A3(R12), R10
	MOVQ REC_A4(R12), R8
	MOVQ REC_A5(R12), R9
	SYSCALL
	MOVQ AX, REC_RET(R12)
	CMPQ REC_STOP(R12), $0
	JEQ  fine
	CMPQ AX, $-4095
	JCC  end
fine:
	ADDQ $REC_SIZE, R12
	DECQ R13
	JNE  next
end:
	BYTE $0xCC

	// The same for the 32-bit table, at parasite.Batch32.
next32:
	MOVQ REC_NR(R12), AX
	MOVQ REC_A0(R12), BX
	MOVQ REC_A1(R12), CX
	MOVQ REC_A2(R12), DX
	MOVQ REC_A3(R12), SI
	MOVQ REC_A4(R12), DI
	BYTE $0x49; BYTE $0x8B; BYTE $0x6C; BYTE $0x24; BYTE $REC_A5 // MOVQ REC_A5(R12), BP
	INT  $0x80
	MOVLQSX AX, AX
	MOVQ AX, REC_RET(R12)
	CMPQ REC_STOP(R12), $0
	JEQ  fine32
	CMPQ AX, $-4095
	JCC  end32
fine32:
	ADDQ $REC_SIZE, R12
	DECQ R13
	JNE  next32
end32:
	BYTE $0xCC
	END_MARK

TEXT ·addresses(SB),NOSPLIT,$0-16
	LEAQ ·call(SB), AX
	MOVQ AX, call+0(FP)
	LEAQ ·batch(SB), AX
	MOVQ AX, batch+8(FP)
	RET
