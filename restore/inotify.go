package restore

import (
	"errors"
	"fmt"

	"github.com/crtrace/crtrace/snapshot"
	"golang.org/x/sys/unix"
)

// openInotify makes an inotify instance with the same watch descriptors. They
// are given out in ascending order, so gaps are filled by watches that are
// removed again; the events that this causes are taken out of the queue.
func openInotify(b *broker, d *snapshot.Description) (int, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return -1, fmt.Errorf("inotify_init: %w", err)
	}
	b.keep(fd)
	for _, w := range d.Detail.(*snapshot.Inotify).Watches {
		if err := addWatch(fd, w); err != nil {
			return -1, fmt.Errorf("watch of %s: %w", w.Path, err)
		}
	}
	buf := make([]byte, 64<<10)
	for {
		_, err := unix.Read(fd, buf)
		if errors.Is(err, unix.EAGAIN) {
			return fd, setStatus(fd, d)
		}
		if err != nil {
			return -1, fmt.Errorf("empty the queue: %w", err)
		}
	}
}

func addWatch(fd int, w snapshot.Watch) error {
	const keep = unix.IN_ALL_EVENTS | unix.IN_EXCL_UNLINK | unix.IN_ONESHOT
	for {
		wd, err := unix.InotifyAddWatch(fd, w.Path, uint32(w.Mask)&keep)
		if err != nil {
			return err
		}
		if wd == w.WD {
			return nil
		}
		if wd > w.WD {
			return fmt.Errorf("watch descriptor %d could not be had", w.WD)
		}
		if _, err := unix.InotifyRmWatch(fd, uint32(wd)); err != nil {
			return err
		}
		// Every removal leaves an event, and the queue is bounded.
		buf := make([]byte, 4096)
		if _, err := unix.Read(fd, buf); err != nil && !errors.Is(err, unix.EAGAIN) {
			return err
		}
	}
}
