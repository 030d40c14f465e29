package restore

import (
	"encoding/binary"
	"fmt"

	"github.com/crtrace/crtrace/snapshot"
	"golang.org/x/sys/unix"
)

// openEventFD makes an event counter with its count.
func openEventFD(b *broker, d *snapshot.Description) (int, error) {
	e := d.Detail.(*snapshot.EventFD)
	flags := unix.EFD_CLOEXEC | int(d.Flags)&unix.O_NONBLOCK
	if e.Semaphore {
		flags |= unix.EFD_SEMAPHORE
	}
	fd, err := unix.Eventfd(0, flags)
	if err != nil {
		return -1, fmt.Errorf("eventfd: %w", err)
	}
	b.keep(fd)
	if e.Count == 0 {
		return fd, nil
	}
	if _, err := unix.Write(fd, binary.LittleEndian.AppendUint64(nil, uint64(e.Count))); err != nil {
		return -1, fmt.Errorf("count %d: %w", uint64(e.Count), err)
	}
	return fd, nil
}
