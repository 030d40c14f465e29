package restore

import (
	"fmt"

	"github.com/crtrace/crtrace/snapshot"
	"golang.org/x/sys/unix"
)

// openMemory opens shared memory once more, at the old offset.
func openMemory(b *broker, d *snapshot.Description) (int, error) {
	m := d.Detail.(*snapshot.MemoryFD)
	fd, err := reopen(b.shared[m.Shared], openFlags(d)&^unix.O_NOFOLLOW)
	if err != nil {
		return -1, fmt.Errorf("open shared memory %q: %w", b.m.Shared[m.Shared].Name, err)
	}
	b.keep(fd)
	if _, err := unix.Seek(fd, m.Offset, unix.SEEK_SET); err != nil {
		return -1, fmt.Errorf("seek: %w", err)
	}
	return fd, nil
}
