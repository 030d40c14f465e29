package capture

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/crtrace/crtrace/snapshot"
	"github.com/crtrace/crtrace/tracer/procfs"
	"golang.org/x/sys/unix"
)

// saveLimit is the size in bytes up to which a mapped file that holds no code is
// copied into the image. Code is copied whatever its size.
const saveLimit = 16 << 20

// writtenLimit is the size in bytes up to which a file that the program writes
// through a mapping is kept in the image: it is the program's memory as well as a
// file. The program stands still meanwhile.
const writtenLimit = 256 << 20

// saving says when a file's content goes into the image.
type saving int

// The times to save.
const (
	saveNot   saving = iota
	saveLater        // when the program runs again: nothing changes it
	saveNow          // while the program stands still: it may change it
)

// takeExe enters the executable into the table of files.
func (t *target) takeExe() (int, error) {
	path, deleted, err := procfs.Exe(t.pid)
	if err != nil {
		return 0, err
	}
	return t.addFile(path, fmt.Sprintf("/proc/%d/exe", t.pid), deleted, saveLater)
}

// fileOf returns the number of the file that an area maps. Files with code are
// kept in the image, and small ones too: a restart must survive an upgrade of
// a library.
func (t *target) fileOf(m *procfs.Mapping) (int, error) {
	var st unix.Stat_t
	if err := unix.Stat(m.Path, &st); err != nil {
		return 0, fmt.Errorf("mapped file %s: %w", m.Path, err)
	}
	return t.addFile(m.Path, m.Path, false, t.savingOf(m, st.Size))
}

// savingOf decides when the content of a mapped file is saved.
func (t *target) savingOf(m *procfs.Mapping, size int64) saving {
	written := m.Shared && m.Flags.Has("mw")
	rule := t.o.Files.For(m.Path)
	switch {
	case written && rule != "" && rule != snapshot.RuleSave:
		return saveNot
	case written && (rule == snapshot.RuleSave || t.o.SaveFiles || size <= writtenLimit):
		return saveNow
	case written:
		if !t.surveying() {
			t.warn("%s is written through a mapping and too large to be kept in the image by itself (--save-files keeps it)", m.Path)
		}
		return saveNot
	case m.Exec || size <= saveLimit || rule == snapshot.RuleSave:
		return saveLater
	}
	return saveNot
}

// addFile enters a file into the table. open is a path that surely leads to it,
// even when its name is gone.
func (c *collection) addFile(path, open string, deleted bool, save saving) (int, error) {
	var st unix.Stat_t
	if err := unix.Stat(open, &st); err != nil {
		return 0, fmt.Errorf("file %s: %w", path, err)
	}
	key := fileKey{st.Dev, st.Ino}
	id, ok := c.files[key]
	if !ok {
		id = len(c.m.Files)
		c.files[key] = id
		c.m.Files = append(c.m.Files, snapshot.File{
			ID: id, Path: path, Mode: snapshot.Hex(st.Mode), Dev: snapshot.Hex(st.Dev), Ino: st.Ino,
			Size: st.Size, MTime: st.Mtim.Nano(), Deleted: deleted, Rule: c.o.Files.For(path),
		})
	}
	f := &c.m.Files[id]
	if c.surveying() || save == saveNot || f.SHA256 != "" || f.Saved && save == saveLater {
		return id, nil
	}
	f.Saved = true
	if save == saveNow || deleted { // the way to a deleted one ends with the process
		return id, c.saveFile(f, open)
	}
	c.saves = append(c.saves, id)
	return id, nil
}

// saveFiles copies files that have a name into the image. The program runs
// again; a file that was changed meanwhile is told by its time stamp.
func (c *collection) saveFiles(ctx context.Context) error {
	for _, id := range c.saves {
		if err := ctx.Err(); err != nil {
			return err
		}
		f := &c.m.Files[id]
		if f.SHA256 != "" {
			continue // it turned out to be written, and was saved in time
		}
		if err := c.saveFile(f, f.Path); err != nil {
			return err
		}
	}
	return nil
}

// saveFile copies one file into the image.
func (c *collection) saveFile(f *snapshot.File, open string) error {
	in, err := os.Open(open)
	if err != nil {
		if errors.Is(err, fs.ErrPermission) && !f.Deleted {
			f.Saved = false // executable but not readable: its name must do
			return nil
		}
		return fmt.Errorf("keep a copy of %s: %w", f.Path, err)
	}
	defer in.Close()
	sum, size, err := c.w.SaveFile(in)
	if err != nil {
		return fmt.Errorf("keep a copy of %s: %w", f.Path, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(in.Fd()), &st); err != nil {
		return fmt.Errorf("keep a copy of %s: %w", f.Path, err)
	}
	if size != f.Size || st.Mtim.Nano() != f.MTime || st.Ino != f.Ino {
		return fmt.Errorf("%s changed while the checkpoint was taken; try again", f.Path)
	}
	f.SHA256 = sum
	return nil
}

// trimDeleted removes the kernel's mark of a deleted file from a link.
func trimDeleted(link string) (path string, deleted bool) {
	return strings.CutSuffix(link, " (deleted)")
}
