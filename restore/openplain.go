package restore

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// openPlain opens a file that must not be reached through a symbolic link in the
// last part of its path: in a directory that others can write, such a link may
// have been planted, and the file behind it would be cut. O_NOFOLLOW is no way,
// because the program would see it in the flags of its descriptor.
func openPlain(path string, flags int) (int, error) {
	fd, err := unix.Open(path, flags, 0)
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", path, err)
	}
	var opened, named unix.Stat_t
	if err := errors.Join(unix.Fstat(fd, &opened), unix.Lstat(path, &named)); err != nil {
		return -1, errors.Join(fmt.Errorf("look at %s: %w", path, err), unix.Close(fd))
	}
	if opened.Dev != named.Dev || opened.Ino != named.Ino {
		unix.Close(fd)
		return -1, fmt.Errorf("%s was a file and is a symbolic link now", path)
	}
	return fd, nil
}
