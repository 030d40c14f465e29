package restore

import (
	"fmt"

	"github.com/crtrace/crtrace/snapshot"
	"golang.org/x/sys/unix"
)

// openPath opens a place in the file system again.
func openPath(b *broker, d *snapshot.Description) (int, error) {
	p := d.Detail.(*snapshot.Path)
	fd, err := unix.Open(p.Path, openFlags(d)|unix.O_PATH, 0)
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", p.Path, err)
	}
	return b.keep(fd), nil
}
