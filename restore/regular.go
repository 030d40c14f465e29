package restore

import (
	"errors"
	"fmt"

	"github.com/crtrace/crtrace/snapshot"
	"golang.org/x/sys/unix"
)

// openRegular opens a file again at its old offset. A file that is gone and
// whose content is in the image is made anew.
func openRegular(b *broker, d *snapshot.Description) (int, error) {
	r := d.Detail.(*snapshot.Regular)
	flags := openFlags(d)
	var fd int
	var err error
	if b.plan.sources[r.File].path == "" {
		fd, err = b.openSource(r.File, flags&unix.O_ACCMODE)
	} else {
		fd, err = b.openNamed(r.File, flags)
	}
	if err != nil {
		return -1, err
	}
	if _, err := unix.Seek(fd, r.Offset, unix.SEEK_SET); err != nil && !errors.Is(err, unix.ESPIPE) {
		return -1, fmt.Errorf("seek: %w", err)
	}
	return fd, nil
}

func (b *broker) openNamed(file, flags int) (int, error) {
	f := &b.m.Files[file]
	if f.Saved && flags&unix.O_ACCMODE != unix.O_RDONLY {
		flags |= unix.O_CREAT
	}
	fd, err := openPlain(f.Path, flags, uint32(f.Mode&0o777))
	if errors.Is(err, unix.EPERM) && flags&unix.O_NOATIME != 0 { // only the owner may
		fd, err = openPlain(f.Path, flags&^unix.O_NOATIME, uint32(f.Mode&0o777))
	}
	if err != nil {
		return -1, err
	}
	return b.keep(fd), nil
}
