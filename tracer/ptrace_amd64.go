package tracer

import (
	"errors"
	"syscall"

	"github.com/crtrace/crtrace/regs"
	"golang.org/x/sys/unix"
)

// Requests that x/sys/unix does not name on amd64 (include/uapi/linux/ptrace.h).
const (
	ptraceGetSigMask = 0x420a
	ptraceSetSigMask = 0x420b
	ptraceGetRSeq    = 0x420f

	noteX86XState = 0x202 // NT_X86_XSTATE
)

// maxXState is more than any x86 processor's extended state (AMX has 11 KiB).
// GETREGSET cuts the state off where the buffer ends, SETREGSET refuses it then.
const maxXState = 16 << 10

// request makes a ptrace request that takes a plain number and no address.
func request(op int, name string, tid int, data uintptr) error {
	_, _, errno := unix.RawSyscall6(unix.SYS_PTRACE, uintptr(op), uintptr(tid), 0, data, 0, 0)
	if errno != 0 {
		return &PtraceError{Op: name, TID: tid, Err: errno}
	}
	return nil
}

func seize(tid int, options uintptr) error {
	return request(unix.PTRACE_SEIZE, "PTRACE_SEIZE", tid, options)
}

func interrupt(tid int) error {
	return request(unix.PTRACE_INTERRUPT, "PTRACE_INTERRUPT", tid, 0)
}

func setOptions(tid int, options uintptr) error {
	return request(unix.PTRACE_SETOPTIONS, "PTRACE_SETOPTIONS", tid, options)
}

// resume lets a stopped tracee run on in the way that op says (PTRACE_CONT,
// PTRACE_SYSCALL, PTRACE_SINGLESTEP), with a signal or none.
func resume(op, tid int, sig syscall.Signal) error {
	return request(op, "PTRACE_CONT", tid, uintptr(sig))
}

func detach(tid int, sig syscall.Signal) error {
	return request(unix.PTRACE_DETACH, "PTRACE_DETACH", tid, uintptr(sig))
}

func getRegs(tid int) (regs.AMD64, error) {
	var r regs.AMD64
	err := requestPtr(unix.PTRACE_GETREGS, "PTRACE_GETREGS", tid, 0, &r)
	return r, err
}

func setRegs(tid int, r *regs.AMD64) error {
	return requestPtr(unix.PTRACE_SETREGS, "PTRACE_SETREGS", tid, 0, r)
}

func getSigMask(tid int) (uint64, error) {
	var mask uint64
	err := requestPtr(ptraceGetSigMask, "PTRACE_GETSIGMASK", tid, 8, &mask)
	return mask, err
}

func setSigMask(tid int, mask uint64) error {
	return requestPtr(ptraceSetSigMask, "PTRACE_SETSIGMASK", tid, 8, &mask)
}

func getXState(tid int) ([]byte, error) {
	buf := make([]byte, maxXState)
	n, err := regset(unix.PTRACE_GETREGSET, "PTRACE_GETREGSET", tid, noteX86XState, buf)
	return buf[:n], err
}

func setXState(tid int, state []byte) error {
	_, err := regset(unix.PTRACE_SETREGSET, "PTRACE_SETREGSET", tid, noteX86XState, state)
	return err
}

// RSeq is a thread's registration of restartable sequences.
type RSeq struct {
	Pointer   uint64
	Size      uint32
	Signature uint32
}

// getRSeq returns the registration, zero where there is none or where the
// kernel can't tell (before 5.13, or without CONFIG_RSEQ).
func getRSeq(tid int) (RSeq, error) {
	var c struct {
		pointer         uint64
		size, signature uint32
		flags, pad      uint32
	}
	err := requestPtr(ptraceGetRSeq, "PTRACE_GET_RSEQ_CONFIGURATION", tid, 24, &c)
	if errors.Is(err, syscall.EIO) || errors.Is(err, syscall.EINVAL) {
		return RSeq{}, nil
	}
	return RSeq{c.pointer, c.size, c.signature}, err
}
