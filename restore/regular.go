package restore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

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
	offset, whence := r.Offset, unix.SEEK_SET
	if b.plan.sources[r.File].append && flags&unix.O_ACCMODE != unix.O_RDONLY && r.Offset >= b.m.Files[r.File].Size {
		offset, whence = 0, unix.SEEK_END
	}
	if _, err := unix.Seek(fd, offset, whence); err != nil && !errors.Is(err, unix.ESPIPE) {
		return -1, fmt.Errorf("seek: %w", err)
	}
	return fd, nil
}

// openNamed opens a file by its name, and makes it first where the plan says so.
func (b *broker) openNamed(file, flags int) (int, error) {
	f := &b.m.Files[file]
	if b.plan.sources[file].create {
		if err := b.create(f); err != nil {
			return -1, err
		}
	}
	fd, err := openPlain(f.Path, flags)
	if errors.Is(err, unix.EPERM) && flags&unix.O_NOATIME != 0 { // only the owner may
		fd, err = openPlain(f.Path, flags&^unix.O_NOATIME)
	}
	if err != nil {
		return -1, err
	}
	return b.keep(fd), nil
}

// create makes a file that is gone, with the directories above it. Its content, if
// the image has it, comes with the rollback.
func (b *broker) create(f *snapshot.File) error {
	if err := os.MkdirAll(filepath.Dir(f.Path), 0o700); err != nil {
		return err
	}
	fd, err := unix.Open(f.Path, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, uint32(f.Mode&0o777))
	switch {
	case errors.Is(err, unix.EEXIST):
		return nil // we have, or somebody else has
	case err != nil:
		return fmt.Errorf("create %s: %w", f.Path, err)
	}
	b.created = append(b.created, f.Path)
	return unix.Close(fd)
}

// removeCreated removes the files that a failed restore has made.
func (b *broker) removeCreated() error {
	var errs []error
	for _, path := range b.created {
		errs = append(errs, os.Remove(path))
	}
	return errors.Join(errs...)
}
