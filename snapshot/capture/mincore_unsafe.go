package capture

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// mincore tells which pages of this process, from an address on, are in memory: the
// lowest bit of a byte each.
func mincore(at uint64, vec []byte) error {
	if len(vec) == 0 {
		return nil
	}
	size := uintptr(len(vec)) * uintptr(unix.Getpagesize())
	_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(at), size, uintptr(unsafe.Pointer(&vec[0])))
	if errno != 0 {
		return errno
	}
	return nil
}
