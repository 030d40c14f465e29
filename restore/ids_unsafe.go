package restore

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// failingClone makes a clone3 call that the kernel gives up with EFAULT when it
// stores the pidfd, which is after it took an id. No task comes into being: the
// pointer lies below vm.mmap_min_addr.
func failingClone() syscall.Errno {
	const badPointer = 8
	args := struct {
		flags, pidfd, childTID, parentTID, exitSignal, stack, stackSize, tls uint64
	}{
		flags: unix.CLONE_VM | unix.CLONE_FILES | unix.CLONE_FS | unix.CLONE_SIGHAND | unix.CLONE_PIDFD,
		pidfd: badPointer,
	}
	_, _, errno := unix.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&args)), unsafe.Sizeof(args), 0)
	return errno
}
