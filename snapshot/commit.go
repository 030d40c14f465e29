package snapshot

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// Commit completes the image and gives it its name. It sets Format, ID and
// XState of m, which must describe exactly the stores and files that were
// written, and returns the size of the image in bytes. When it returns an
// error there is no image, and Abort removes what was written; it can't be
// called again.
//
// Everything is on the disk before the rename, and the rename before Commit
// returns. The final name is looked for just before the rename; an empty
// directory that somebody makes in between is replaced, nothing else can be.
func (w *Writer) Commit(m *Manifest) (size int64, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.finished || w.tried {
		return 0, w.fail(errFinished)
	}
	w.tried = true
	if err := w.fillIn(m); err != nil {
		return 0, w.fail(err)
	}
	data, err := w.encode(m)
	if err != nil {
		return 0, w.fail(err)
	}
	if err := w.sync(data); err != nil {
		return 0, w.fail(err)
	}
	if err := w.readBack(); err != nil {
		return 0, w.fail(fmt.Errorf("what was written can't be read back: %w", err))
	}
	if err := w.rename(); err != nil {
		return 0, err
	}
	w.finished = true
	_, _ = w.root.Close(), w.parent.Close() // nothing is written through them
	return w.size() + int64(len(data)) + int64(len(checksumLine(data))), nil
}

// fillIn sets the parts of the manifest that the writer knows.
func (w *Writer) fillIn(m *Manifest) error {
	m.Format = Format{FormatMajor, FormatMinor}
	m.ID = randomHex(16)
	m.Created = m.Created.UTC()
	m.XState = Blob{}
	if w.xsize > 0 {
		m.XState = Blob{Name: xstateName, Size: w.xsize, SHA256: hex.EncodeToString(w.xsum.Sum(nil))}
	}
	if w.xstate != nil {
		w.unsynced = append(w.unsynced, w.xstate)
		w.xstate = nil
	}
	return w.checkContent(m)
}

// checkContent compares the manifest with what was written.
func (w *Writer) checkContent(m *Manifest) error {
	for name, s := range w.stores {
		if s.out == nil {
			return fmt.Errorf("page store %s was not closed, or failed", name)
		}
	}
	if len(m.Stores) != len(w.stores) {
		return fmt.Errorf("the manifest tells of %d page stores, %d were written", len(m.Stores), len(w.stores))
	}
	for _, s := range m.Stores {
		if have := w.stores[s.Name]; have == nil || *have.out != s {
			return fmt.Errorf("the manifest's page store %q is not what was written", s.Name)
		}
	}
	used := m.savedFiles()
	for sum := range used {
		if _, ok := w.saved[sum]; !ok {
			return fmt.Errorf("the manifest tells of a saved file %s that was not written", sum)
		}
	}
	for sum := range w.saved {
		if !used[sum] {
			return fmt.Errorf("file %s was saved but the manifest does not tell of it", sum)
		}
	}
	return nil
}

// encode validates the manifest and returns the content of manifest.json.
func (w *Writer) encode(m *Manifest) ([]byte, error) {
	if err := m.Validate(); err != nil {
		return nil, fmt.Errorf("the manifest is wrong: %w", err)
	}
	return encodeManifest(m)
}

// checksumLine returns the content of manifest.sha256.
func checksumLine(manifest []byte) string {
	sum := sha256.Sum256(manifest)
	return hex.EncodeToString(sum[:]) + "  " + manifestName + "\n"
}

// sync brings everything to the disk: bulk data, then the manifest, then the
// directory entries.
func (w *Writer) sync(manifest []byte) error {
	files := w.unsynced
	w.unsynced = nil
	if err := syncAll(files); err != nil {
		return err
	}
	if err := w.writeFile(manifestName, manifest); err != nil {
		return err
	}
	if err := w.writeFile(checksumName, []byte(checksumLine(manifest))); err != nil {
		return err
	}
	if err := w.finishSaved(); err != nil {
		return err
	}
	return syncDir(w.root, ".")
}

// finishSaved brings the folder of copies to the disk, or removes it if all
// attempts to save a file failed.
func (w *Writer) finishSaved() error {
	if len(w.saved) > 0 {
		return syncDir(w.root, filesName)
	}
	if err := w.root.Remove(filesName); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// syncAll syncs and closes files, a few at a time: a disk takes several
// requests at once.
func syncAll(files []*os.File) error {
	const workers = 4
	var group sync.WaitGroup
	var errs [workers]error
	for i := range workers {
		group.Go(func() {
			for j := i; j < len(files); j += workers {
				errs[i] = errors.Join(errs[i], syncAndClose(files[j]))
			}
		})
	}
	group.Wait()
	return errors.Join(errs[:]...)
}

// writeFile makes a small file and brings it to the disk.
func (w *Writer) writeFile(name string, data []byte) error {
	f, err := w.createFile(name)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, syncAndClose(f))
}

// syncDir brings the entries of a directory to the disk. File systems that
// can't do that for directories are trusted to keep the order by themselves.
func syncDir(root *os.Root, name string) error {
	d, err := root.Open(name)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, errors.ErrUnsupported) {
		err = nil
	}
	return errors.Join(err, d.Close())
}

// readBack opens the image as a reader does and checks the manifest and all
// page maps.
func (w *Writer) readBack() error {
	root, err := w.parent.OpenRoot(w.temp)
	if err != nil {
		return err
	}
	im, err := openRoot(root, w.dir)
	if err != nil {
		return err
	}
	for _, s := range im.Manifest.Stores {
		r, err := im.Store(s.Name)
		if err != nil {
			return errors.Join(err, im.Close())
		}
		if err := r.Close(); err != nil {
			return errors.Join(err, im.Close())
		}
	}
	return im.Close()
}

// rename makes the image visible under its name, for good or not at all.
func (w *Writer) rename() error {
	if err := w.checkFree(); err != nil {
		return err
	}
	if err := w.parent.Rename(w.temp, w.base); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return w.errExists()
		}
		return w.fail(err)
	}
	if err := syncDir(w.parent, "."); err != nil {
		err = fmt.Errorf("image %s: sync %s: %w", w.dir, filepath.Dir(w.dir), err)
		return errors.Join(err, w.parent.Rename(w.base, w.temp))
	}
	return nil
}

// size returns the size of the bulk data in bytes.
func (w *Writer) size() int64 {
	n := w.xsize
	for _, s := range w.stores {
		n += s.out.Map.Size + s.out.Data.Size
	}
	for _, size := range w.saved {
		n += size
	}
	return n
}
