package restore

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// setAffinity sets the CPUs that a thread may run on.
func setAffinity(tid int, mask []byte) error {
	if len(mask) == 0 {
		return nil
	}
	_, _, errno := unix.RawSyscall(unix.SYS_SCHED_SETAFFINITY, uintptr(tid), uintptr(len(mask)), uintptr(unsafe.Pointer(&mask[0])))
	if errno != 0 {
		return errno
	}
	return nil
}

// setIOPriority sets the I/O scheduling class and priority of a thread.
func setIOPriority(tid, priority int) error {
	const whoProcess = 1
	_, _, errno := unix.RawSyscall(unix.SYS_IOPRIO_SET, whoProcess, uintptr(tid), uintptr(priority))
	if errno != 0 {
		return errno
	}
	return nil
}
