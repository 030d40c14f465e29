package procfs

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// pagemapScan is PAGEMAP_SCAN, _IOWR('f', 16, struct pm_scan_arg).
const pagemapScan = 3<<30 | unsafe.Sizeof(scanArg{})<<16 | 'f'<<8 | 16

// ioctlScan runs one scan and returns the number of regions that it found.
// arg.walkEnd then tells how far it came.
func ioctlScan(fd int, arg *scanArg, regions []pageRegion) (int, error) {
	arg.size = uint64(unsafe.Sizeof(*arg))
	if len(regions) > 0 {
		// The address hides in a number: the slice must be on the heap, where
		// nothing moves, and be kept alive.
		arg.vec, arg.vecLen = uint64(uintptr(unsafe.Pointer(&regions[0]))), uint64(len(regions))
	}
	n, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), pagemapScan, uintptr(unsafe.Pointer(arg)))
	runtime.KeepAlive(regions)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
