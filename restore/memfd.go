package restore

import (
	"fmt"

	"github.com/crtrace/crtrace/snapshot"
	"golang.org/x/sys/unix"
)

// openMemory opens shared memory once more, at the old offset.
func openMemory(b *broker, d *snapshot.Description) (int, error) {
	m := d.Detail.(*snapshot.MemoryFD)
	open := b.shared[m.Shared]
	var fd int
	var err error
	if int(d.Flags)&(unix.O_TMPFILE|unix.O_ACCMODE) == unix.O_TMPFILE|unix.O_RDWR && bornNameless(&b.m.Shared[m.Shared]) {
		// No other description of the file can show O_TMPFILE: ours becomes the one that did.
		if fd, err = unix.FcntlInt(uintptr(open), unix.F_DUPFD_CLOEXEC, 0); err == nil {
			err = setStatus(fd, d)
		}
	} else {
		fd, err = reopen(open, openFlags(d)&^unix.O_NOFOLLOW)
	}
	if err != nil {
		return -1, fmt.Errorf("open shared memory %q: %w", b.m.Shared[m.Shared].Name, err)
	}
	b.keep(fd)
	if _, err := unix.Seek(fd, m.Offset, unix.SEEK_SET); err != nil {
		return -1, fmt.Errorf("seek: %w", err)
	}
	return fd, nil
}
