package restore

import (
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A clone whose pidfd is to be stored at a bad address is given up by the kernel
// with EFAULT, which is after it took an id. No task comes into being: the address
// lies below vm.mmap_min_addr.
const (
	badAddress   = 8
	failingFlags = unix.CLONE_VM | unix.CLONE_FILES | unix.CLONE_FS | unix.CLONE_SIGHAND | unix.CLONE_PIDFD
)

// failingClone3 makes such a call of clone3.
func failingClone3() syscall.Errno {
	args := struct {
		flags, pidfd, childTID, parentTID, exitSignal, stack, stackSize, tls uint64
	}{flags: failingFlags, pidfd: badAddress}
	_, _, errno := unix.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&args)), unsafe.Sizeof(args), 0)
	return errno
}

// cloneWithUsedID asks clone3 for a process with the id that this one has, which
// fails in the way that tells whether ids may be chosen.
func cloneWithUsedID() syscall.Errno {
	id := int32(unix.Getpid())
	args := struct {
		flags, pidfd, childTID, parentTID, exitSignal, stack, stackSize, tls, setTID, setTIDSize uint64
	}{setTID: uint64(uintptr(unsafe.Pointer(&id))), setTIDSize: 1}
	_, _, errno := unix.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&args)), unsafe.Sizeof(args), 0)
	runtime.KeepAlive(&id)
	return errno
}

// failingClone makes such a call of clone, which takes the pidfd's address as that
// of the parent's id. Before Linux 5.2 it does not know the flag and would make a
// task: it must not be called there.
func failingClone() syscall.Errno {
	_, _, errno := unix.RawSyscall6(unix.SYS_CLONE, failingFlags, 0, badAddress, 0, 0, 0)
	return errno
}
