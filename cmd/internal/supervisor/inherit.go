package supervisor

import (
	"debug/elf"
	"encoding/binary"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/crtrace/crtrace/tracer/procfs"
)

// inheritedIgnores lists the signals that crtrace's caller had set to be
// ignored (nohup, a shell's background jobs, systemd's SIGPIPE): the program
// must inherit that. The Go runtime replaces the dispositions before any of our
// code runs, but keeps the old ones in runtime.fwdSig, and leaves alone SIGHUP,
// SIGINT and the signals of job control. Where the variable can't be found (a
// stripped binary) only the latter are known.
func inheritedIgnores() []syscall.Signal {
	var list []syscall.Signal
	old := runtimeDispositions()
	mask := ignoredMask()
	for n := syscall.Signal(1); n <= 64; n++ {
		now := mask>>(n-1)&1 == 1
		before := old != nil && old[n] == 1 // SIG_IGN
		if (now || before) && n != unix.SIGKILL && n != unix.SIGSTOP && n != unix.SIGURG && (n < 32 || n > 34) {
			list = append(list, n)
		}
	}
	return list
}

// ignoredMask reads the mask of signals that this process ignores now.
func ignoredMask() uint64 {
	status, err := procfs.ReadStatus(os.Getpid())
	if err != nil {
		return 0
	}
	return status.SigIgn
}

// runtimeDispositions reads runtime.fwdSig, the handlers that the runtime has
// found at start-up, by number of the signal. Nil when that isn't possible.
func runtimeDispositions() []uint64 {
	const count = 65
	raw := runtimeVariable("runtime.fwdSig", 8*count)
	if raw == nil {
		return nil
	}
	handlers := make([]uint64, count)
	for n := range handlers {
		handlers[n] = binary.LittleEndian.Uint64(raw[8*n:])
	}
	// SIGHUP is the one that can be learnt in two ways: they must agree.
	if (handlers[unix.SIGHUP] == 1) != signal.Ignored(unix.SIGHUP) {
		return nil
	}
	return handlers
}

// blockInherited blocks, on the calling thread, the signals that crtrace's
// caller had blocked. A child gets the mask of the thread that starts it, and
// the runtime has unblocked some on all threads (SIGCHLD, for one); it keeps the
// old mask in runtime.initSigmask.
// Precondition: the OS thread is locked and will not be given back.
func blockInherited() error {
	raw := runtimeVariable("runtime.initSigmask", 8)
	if raw == nil {
		return nil
	}
	var set unix.Sigset_t
	set.Val[0] = binary.LittleEndian.Uint64(raw)
	return os.NewSyscallError("sigprocmask", unix.PthreadSigmask(unix.SIG_BLOCK, &set, nil))
}

// runtimeVariable reads a variable of the Go runtime in this process, by the
// symbol table of the program. Nil when it can't be found there with that size.
func runtimeVariable(name string, size int) []byte {
	exe, err := elf.Open("/proc/self/exe")
	if err != nil {
		return nil
	}
	defer exe.Close()
	if exe.Type != elf.ET_EXEC { // addresses of symbols are not those in memory
		return nil
	}
	symbols, err := exe.Symbols()
	if err != nil {
		return nil
	}
	i := slices.IndexFunc(symbols, func(s elf.Symbol) bool { return s.Name == name })
	if i < 0 || symbols[i].Size != uint64(size) {
		return nil
	}
	mem, err := os.Open("/proc/self/mem")
	if err != nil {
		return nil
	}
	defer mem.Close()
	raw := make([]byte, size)
	if _, err := mem.ReadAt(raw, int64(symbols[i].Value)); err != nil {
		return nil
	}
	return raw
}
