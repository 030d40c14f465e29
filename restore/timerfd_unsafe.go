package restore

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// setTicks sets the number of expirations of a timerfd that were not read yet.
func setTicks(fd int, ticks uint64) error {
	const setTicks = 0x40085400 // TFD_IOC_SET_TICKS
	_, _, errno := unix.RawSyscall(unix.SYS_IOCTL, uintptr(fd), setTicks, uintptr(unsafe.Pointer(&ticks)))
	if errno != 0 {
		return errno
	}
	return nil
}
