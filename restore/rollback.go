package restore

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// keepTail copies the end of a file into the directory of tails, under a name
// that tells which file and from where on. Nothing is ever overwritten there.
func (b *broker) keepTail(n int, file *os.File, from, to int64) error {
	dir := b.plan.o.TailDir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	name := fmt.Sprintf("%s-%02d-%s@%d", time.Now().UTC().Format("20060102T150405.000000000"), n, baseName(file.Name()), from)
	out, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, io.NewSectionReader(file, from, to-from))
	return errors.Join(err, out.Sync(), out.Close())
}

// rollBack brings files that the program writes back to what they were, and
// keeps what they are now beside the image.
func (b *broker) rollBack() error {
	for n, r := range b.plan.rollback {
		if err := b.rollBackFile(n, r); err != nil {
			return fmt.Errorf("roll back %s: %w", b.m.Files[r.file].Path, err)
		}
	}
	return nil
}

func (b *broker) rollBackFile(n int, r rollback) error {
	f := &b.m.Files[r.file]
	fd, err := openPlain(f.Path, unix.O_RDWR|unix.O_CLOEXEC)
	if err != nil {
		return err
	}
	file := os.NewFile(uintptr(fd), f.Path)
	defer file.Close()
	st, err := file.Stat()
	if err != nil {
		return err
	}
	from := r.to // what lies behind this is kept
	if r.content {
		from = 0
	}
	if st.Size() > from {
		if err := b.keepTail(n, file, from, st.Size()); err != nil {
			return err
		}
	}
	if !r.content {
		return file.Truncate(r.to)
	}
	src, err := b.im.SavedFile(f.SHA256)
	if err != nil {
		return err
	}
	defer src.Close()
	if err := file.Truncate(0); err != nil {
		return err
	}
	_, err = file.ReadFrom(src)
	return err
}
