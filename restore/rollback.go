package restore

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/crtrace/crtrace/snapshot"
	"golang.org/x/sys/unix"
)

// keepTail copies the end of a file into the directory of tails, under a name
// that tells which file and from where on.
func (b *broker) keepTail(n int, file *os.File, from, to int64) error {
	out, _, err := b.newTail(fmt.Sprintf("%02d-%s@%d", n, baseName(file.Name()), from))
	if err != nil {
		return err
	}
	_, err = io.Copy(out, io.NewSectionReader(file, from, to-from))
	return errors.Join(err, out.Sync(), out.Close())
}

// keepMessages writes messages that are taken out of a queue into the directory of tails.
func (b *broker) keepMessages(queue string, messages []snapshot.Message) error {
	text, err := json.MarshalIndent(messages, "", "  ")
	if err != nil {
		return err
	}
	out, name, err := b.newTail(queue)
	if err != nil {
		return err
	}
	_, err = out.Write(text)
	b.warn("%d message(s) that were sent to %s since the checkpoint are kept in %s", len(messages), queue, name)
	return errors.Join(err, out.Sync(), out.Close())
}

// newTail makes a file in the directory of tails. Nothing is ever overwritten there.
func (b *broker) newTail(what string) (out *os.File, name string, err error) {
	dir := b.plan.o.TailDir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, "", err
	}
	name = filepath.Join(dir, time.Now().UTC().Format("20060102T150405.000000000")+"-"+what)
	out, err = os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	return out, name, err
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
