package capture

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// ownerEx is struct f_owner_ex.
type ownerEx struct {
	kind int32
	id   int32
}

// fcntlOwner returns what F_SETOWN_EX has set.
func fcntlOwner(fd int) (ownerEx, error) {
	var o ownerEx
	_, _, errno := unix.RawSyscall(unix.SYS_FCNTL, uintptr(fd), unix.F_GETOWN_EX, uintptr(unsafe.Pointer(&o)))
	if errno != 0 {
		return o, errno
	}
	return o, nil
}
