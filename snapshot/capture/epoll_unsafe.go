package capture

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// sameEpollTarget tells whether the nth entry that an epoll instance, descriptor
// epfd of process owner, has under a number watches what descriptor fd of process
// pid leads to.
func sameEpollTarget(pid, fd, owner, epfd, number, nth int) (bool, error) {
	const kcmpEpollTFD = 7
	slot := struct{ efd, tfd, toff uint32 }{uint32(epfd), uint32(number), uint32(nth)}
	r, _, errno := unix.RawSyscall6(unix.SYS_KCMP, uintptr(pid), uintptr(owner), kcmpEpollTFD,
		uintptr(fd), uintptr(unsafe.Pointer(&slot)), 0)
	if errno != 0 {
		return false, errno
	}
	return r == 0, nil
}
