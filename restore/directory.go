package restore

import (
	"fmt"

	"github.com/crtrace/crtrace/snapshot"
	"golang.org/x/sys/unix"
)

// openDirectory opens a directory again at its old position. One that had been
// removed is made, opened and removed again.
func openDirectory(b *broker, d *snapshot.Description) (int, error) {
	dir := d.Detail.(*snapshot.Directory)
	if dir.Gone {
		if err := unix.Mkdir(dir.Path, 0o700); err != nil {
			return -1, fmt.Errorf("make the removed directory %s: %w", dir.Path, err)
		}
		defer func() { _ = unix.Rmdir(dir.Path) }() // one that somebody has filled meanwhile stays
	}
	fd, err := unix.Open(dir.Path, openFlags(d)|unix.O_DIRECTORY, 0)
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", dir.Path, err)
	}
	b.keep(fd)
	if _, err := unix.Seek(fd, dir.Offset, unix.SEEK_SET); err != nil {
		return -1, fmt.Errorf("seek in %s: %w", dir.Path, err)
	}
	return fd, nil
}
