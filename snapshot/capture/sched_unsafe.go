package capture

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// getAffinity returns the bit mask of CPUs that a thread may run on.
func getAffinity(tid int) ([]byte, error) {
	for size := 128; ; size *= 2 {
		mask := make([]byte, size)
		n, _, errno := unix.RawSyscall(unix.SYS_SCHED_GETAFFINITY, uintptr(tid), uintptr(size), uintptr(unsafe.Pointer(&mask[0])))
		switch {
		case errno == unix.EINVAL && size < 1<<16: // more CPUs than the mask has bits
			continue
		case errno != 0:
			return nil, errno
		}
		return mask[:n], nil
	}
}

// getIOPriority returns the I/O scheduling class and priority of a thread.
func getIOPriority(tid int) (int, error) {
	const whoProcess = 1
	v, _, errno := unix.RawSyscall(unix.SYS_IOPRIO_GET, whoProcess, uintptr(tid), 0)
	if errno != 0 {
		return 0, errno
	}
	return int(v), nil
}

// getRobustList returns the head and size of a thread's list of robust futexes.
func getRobustList(tid int) (head, size uint64, err error) {
	_, _, errno := unix.RawSyscall(unix.SYS_GET_ROBUST_LIST, uintptr(tid),
		uintptr(unsafe.Pointer(&head)), uintptr(unsafe.Pointer(&size)))
	if errno != 0 {
		return 0, 0, errno
	}
	return head, size, nil
}
