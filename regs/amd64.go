// Package regs holds a thread's CPU state as data: the general registers and
// the extended state (x87, SSE, AVX, AVX-512, ...).
//
// It decodes and edits; it never talks to a kernel. Everything here compiles
// and runs on any host, so that an image of one architecture can be read on
// another. Values are plain data without synchronisation.
package regs

// AMD64 holds the general registers of an x86-64 thread in the layout of the
// kernel's struct user_regs_struct (arch/x86/include/asm/user_64.h). Threads of
// 32-bit programs use it too: the kernel shows them zero-extended, with CS
// telling the mode.
type AMD64 struct {
	R15, R14, R13, R12, Rbp, Rbx   uint64
	R11, R10, R9, R8               uint64
	Rax, Rcx, Rdx, Rsi, Rdi        uint64
	OrigRax                        uint64
	Rip, Cs, Eflags, Rsp, Ss       uint64
	FsBase, GsBase, Ds, Es, Fs, Gs uint64
}

// User code segment selectors of Linux on x86-64 (arch/x86/include/asm/segment.h).
const (
	UserCS32 = 0x23
	UserCS64 = 0x33
	UserSS   = 0x2b
)

// Compat reports whether the registers belong to a thread that runs 32-bit code.
func (r *AMD64) Compat() bool { return r.Cs == UserCS32 }

// InSyscall reports whether the thread was stopped inside a system call.
func (r *AMD64) InSyscall() bool { return int64(r.OrigRax) >= 0 }
