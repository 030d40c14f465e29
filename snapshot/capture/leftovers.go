package capture

import (
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/crtrace/crtrace/snapshot"
	"golang.org/x/sys/unix"
)

// A crtrace that is killed while it writes an image leaves a directory with a
// part of it behind, as large as the program. The next checkpoint into the same
// folder removes it. A directory that is still written is known by a lock on it,
// which ends with its writer, and by what is written: on some file systems of
// clusters a lock is seen on one host only.

// partAge is how long nothing in a directory must have changed before it counts as
// left behind.
const partAge = time.Hour

// guard locks the directory of an image in the making. Where the file system has
// no locks it does nothing, and nothing is ever removed there.
func guard(dir string) (release func()) {
	f, err := os.Open(dir)
	if err != nil {
		return func() {}
	}
	_ = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) // without locks nobody removes anything
	return func() { f.Close() }
}

// removeLeftovers removes what killed writers have left in a folder. It is no
// reason to fail: what can't be removed stays.
func removeLeftovers(folder string, log *slog.Logger) {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return
	}
	defer root.Close()
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return
	}
	for _, e := range entries {
		if !e.IsDir() || !snapshot.IsPart(e.Name()) {
			continue
		}
		if abandoned(root, e.Name()) && root.RemoveAll(e.Name()) == nil {
			log.Info("removed what a killed checkpoint has left", "dir", filepath.Join(folder, e.Name()))
		}
	}
}

// abandoned tells whether a directory of a part is ours, old, and without a writer.
func abandoned(root *os.Root, name string) bool {
	f, err := root.Open(name)
	if err != nil {
		return false
	}
	defer f.Close()
	var st unix.Stat_t
	if unix.Fstat(int(f.Fd()), &st) != nil || int(st.Uid) != os.Geteuid() || time.Since(newest(root, name)) < partAge {
		return false
	}
	return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil
}

// newest returns when something in a directory has changed last; now, if that can't
// be told.
func newest(root *os.Root, dir string) time.Time {
	last := time.Time{}
	err := fs.WalkDir(root.FS(), dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.ModTime().After(last) {
			last = info.ModTime()
		}
		return err
	})
	if err != nil {
		return time.Now()
	}
	return last
}
