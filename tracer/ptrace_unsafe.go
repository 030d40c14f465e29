package tracer

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// requestPtr makes a ptrace request whose data argument points at a T.
func requestPtr[T any](op int, name string, tid int, addr uintptr, data *T) error {
	_, _, errno := unix.RawSyscall6(unix.SYS_PTRACE, uintptr(op), uintptr(tid), addr,
		uintptr(unsafe.Pointer(data)), 0, 0)
	if errno != 0 {
		return &PtraceError{Op: name, TID: tid, Err: errno}
	}
	return nil
}

// regset reads or writes a register set and returns its length in bytes.
func regset(op int, name string, tid int, note uintptr, buf []byte) (int, error) {
	iov := unix.Iovec{Base: unsafe.SliceData(buf), Len: uint64(len(buf))}
	_, _, errno := unix.RawSyscall6(unix.SYS_PTRACE, uintptr(op), uintptr(tid), note,
		uintptr(unsafe.Pointer(&iov)), 0, 0)
	if errno != 0 {
		return 0, &PtraceError{Op: name, TID: tid, Err: errno}
	}
	return int(iov.Len), nil
}

// siginfoSize is the size of the kernel's siginfo_t in bytes.
const siginfoSize = 128

// peekSiginfo returns queued signals of a stopped task: those of the whole
// process when shared, else the task's own. Raw siginfo_t, in queue order.
//
// Fewer than asked for are not the end of the queue: the kernel stops early when
// the caller has a signal to handle (ptrace_peek_siginfo), and the Go runtime
// sends its threads SIGURG whenever it likes. Only an empty answer is the end.
func peekSiginfo(tid int, shared bool) ([][siginfoSize]byte, error) {
	const flagShared = 1 // PTRACE_PEEKSIGINFO_SHARED
	args := struct {
		off   uint64
		flags uint32
		nr    int32
	}{}
	if shared {
		args.flags = flagShared
	}
	var all [][siginfoSize]byte
	for {
		buf := make([][siginfoSize]byte, 64)
		args.off, args.nr = uint64(len(all)), int32(len(buf))
		n, _, errno := unix.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_PEEKSIGINFO, uintptr(tid),
			uintptr(unsafe.Pointer(&args)), uintptr(unsafe.Pointer(&buf[0])), 0, 0)
		if errno != 0 {
			return nil, &PtraceError{Op: "PTRACE_PEEKSIGINFO", TID: tid, Err: errno}
		}
		if n == 0 {
			return all, nil
		}
		all = append(all, buf[:n]...)
	}
}

// waitTask calls waitid for one task and returns the code (CLD_*) and status of
// its siginfo. A code of 0: nothing to report (WNOHANG).
func waitTask(tid, options int) (code int32, status int32, err error) {
	var info struct {
		signo, errno, code, _ int32
		pid                   int32
		uid                   uint32
		status                int32
		_                     [siginfoSize - 28]byte
	}
	for {
		_, _, errno := unix.Syscall6(unix.SYS_WAITID, unix.P_PID, uintptr(tid),
			uintptr(unsafe.Pointer(&info)), uintptr(options), 0, 0)
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return 0, 0, errno
		}
		return info.code, info.status, nil
	}
}

// getThreadArea reads one GDT entry of a 32-bit thread (struct user_desc).
func getThreadArea(tid int, entry uint32) (userDesc, error) {
	var d userDesc
	err := requestPtr(unix.PTRACE_GET_THREAD_AREA, "PTRACE_GET_THREAD_AREA", tid, uintptr(entry), &d)
	return d, err
}

// userDesc is struct user_desc (arch/x86/include/uapi/asm/ldt.h).
type userDesc struct {
	Entry, Base, Limit, Flags uint32
}
