package restore

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/crtrace/crtrace/snapshot"
	"golang.org/x/sys/unix"
)

// openShared makes the memory that lives outside any address space, with its
// content.
func (b *broker) openShared() error {
	b.shared = make([]int, len(b.m.Shared))
	for i := range b.m.Shared {
		s := &b.m.Shared[i]
		if o := b.segments[i]; o != nil {
			b.shared[i] = -1 // no descriptor leads to it
			if err := b.mayBeGone(o, b.fillSegment(s, o)); err != nil {
				return fmt.Errorf("%s: %w", o, err)
			}
			continue
		}
		fd, err := b.makeShared(s)
		if err == nil {
			b.shared[i] = b.keep(fd)
			err = b.fillShared(s, fd)
		}
		if err != nil {
			return fmt.Errorf("shared memory %q: %w", s.Name, err)
		}
	}
	return nil
}

// makeShared makes an empty object.
func (b *broker) makeShared(s *snapshot.Shared) (int, error) {
	switch s.Kind {
	case "memfd":
		return unix.MemfdCreate(s.Name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	case "anon":
		return unix.MemfdCreate("dev/zero", unix.MFD_CLOEXEC)
	case "named":
		return unix.Open(s.Path, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC|unix.O_NOFOLLOW, uint32(s.Mode&0o777))
	}
	return makeDeleted(s)
}

// bornNameless tells whether a deleted file was made by O_TMPFILE: the kernel calls
// such a file by its inode number.
func bornNameless(s *snapshot.Shared) bool {
	number, ok := strings.CutPrefix(filepath.Base(s.Path), "#")
	_, err := strconv.ParseUint(number, 10, 64)
	return ok && err == nil && s.Kind == "deleted"
}

// makeDeleted makes a file without a name: where it was, so that it lies in the
// same file system, else in memory. One that may still get a name (linkat) stays
// one.
func makeDeleted(s *snapshot.Shared) (int, error) {
	mode := uint32(s.Mode & 0o777)
	if mode == 0 {
		mode = 0o600
	}
	nameless := func() (int, error) {
		return unix.Open(filepath.Dir(s.Path), unix.O_RDWR|unix.O_TMPFILE|unix.O_CLOEXEC, mode)
	}
	if bornNameless(s) {
		if fd, err := nameless(); err == nil {
			return fd, nil
		}
	}
	const flags = unix.O_RDWR | unix.O_CREAT | unix.O_EXCL | unix.O_CLOEXEC | unix.O_NOFOLLOW
	if fd, err := unix.Open(s.Path, flags, mode); err == nil {
		return fd, unix.Unlink(s.Path)
	}
	if fd, err := nameless(); err == nil {
		return fd, nil
	}
	return unix.MemfdCreate(strings.TrimPrefix(s.Path, "/"), unix.MFD_CLOEXEC)
}

// fillShared writes the content of an object, then seals it.
func (b *broker) fillShared(s *snapshot.Shared, fd int) error {
	if err := unix.Ftruncate(fd, 0); err != nil {
		return err
	}
	if err := unix.Ftruncate(fd, int64(s.Size)); err != nil {
		return err
	}
	return b.eachRecord(s, func(addr uint64, data []byte) error {
		if end := uint64(s.Size); addr+uint64(len(data)) > end { // the last page is a part of one
			data = data[:max(end, addr)-addr]
		}
		return pwriteAll(fd, data, int64(addr))
	})
}

// eachRecord reads the content of an object piece by piece. What no piece has is zeros.
func (b *broker) eachRecord(s *snapshot.Shared, write func(addr uint64, data []byte) error) error {
	store, ok := b.stores[s.Store]
	if !ok {
		return fmt.Errorf("page store %s is missing", s.Store)
	}
	var buf []byte
	for _, r := range store.Records() {
		if r.Zero {
			continue // a hole reads as zeros
		}
		data, err := store.ReadRecord(r, buf)
		if err != nil {
			return err
		}
		buf = data[:0]
		if err := write(r.Addr, data); err != nil {
			return err
		}
	}
	return nil
}

// seal seals the memfds. That comes last, because seals forbid the mappings and
// the writing that were done before them.
func (b *broker) seal() error {
	for i := range b.m.Shared {
		s := &b.m.Shared[i]
		if s.Kind != "memfd" {
			continue
		}
		if _, err := unix.FcntlInt(uintptr(b.shared[i]), unix.F_ADD_SEALS, int(s.Seals)); err != nil {
			return fmt.Errorf("memfd %q: F_ADD_SEALS: %w", s.Name, err)
		}
	}
	return nil
}

// pwriteAll writes all of data at an offset.
func pwriteAll(fd int, data []byte, at int64) error {
	for len(data) > 0 {
		n, err := unix.Pwrite(fd, data, at)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		data, at = data[n:], at+int64(n)
	}
	return nil
}

// baseName is the last part of a path, fit for the name of a memfd.
func baseName(path string) string {
	name := filepath.Base(path)
	return name[:min(len(name), 200)]
}
