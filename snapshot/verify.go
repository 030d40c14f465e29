package snapshot

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
)

// XState returns a part of the extended states: that of one thread. The first
// call verifies the checksum of all of them.
func (im *Image) XState(e Extent) ([]byte, error) {
	b := im.Manifest.XState
	if e.Offset < 0 || e.Size < 0 || e.Offset > b.Size || e.Size > b.Size-e.Offset {
		return nil, im.fail(fmt.Errorf("%s has no bytes %d to %d", xstateName, e.Offset, e.Offset+e.Size))
	}
	if e.Size == 0 {
		return nil, nil
	}
	im.mu.Lock()
	defer im.mu.Unlock()
	if im.xstate == nil {
		f, err := im.openHashed(b)
		if err != nil {
			return nil, im.fail(err)
		}
		im.xstate = f
	}
	state := make([]byte, e.Size)
	if n, err := im.xstate.ReadAt(state, e.Offset); n < len(state) {
		return nil, im.fail(readError(xstateName, err))
	}
	return state, nil
}

// openHashed opens a file that the manifest describes and checks size and SHA-256.
func (im *Image) openHashed(b Blob) (*os.File, error) {
	f, err := im.openBlob(b)
	if err != nil {
		return nil, err
	}
	if err := checkHash(f, b.Name, b.SHA256); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// checkHash reads f to its end and compares the SHA-256 of it.
func checkHash(f *os.File, name, want string) error {
	sum := sha256.New()
	if _, err := io.CopyBuffer(onlyWriter{sum}, onlyReader{f}, make([]byte, copyBuffer)); err != nil {
		return readError(name, err)
	}
	if have := hex.EncodeToString(sum.Sum(nil)); have != want {
		return corrupt(name, -1, "its SHA-256 is %s, not %s", have, want)
	}
	return nil
}

// SavedFile opens the copy of a file by the SHA-256 of its content, which is
// verified; that reads all of it. The caller must close it.
func (im *Image) SavedFile(sha256 string) (*os.File, error) {
	f, err := im.savedFile(sha256)
	if err != nil {
		return nil, im.fail(err)
	}
	return f, nil
}

func (im *Image) savedFile(sum string) (*os.File, error) {
	if !im.Manifest.savedFiles()[sum] {
		return nil, fmt.Errorf("no file with SHA-256 %q is saved in it", sum)
	}
	if err := im.checkFilesDir(); err != nil {
		return nil, err
	}
	name := filesName + "/" + sum
	f, _, err := im.openFile(name)
	if err != nil {
		return nil, err
	}
	if err := checkHash(f, name, sum); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// checkFilesDir checks that the folder of copies is a directory and not a link
// to one.
func (im *Image) checkFilesDir() error {
	info, err := im.root.Lstat(filesName)
	if errors.Is(err, fs.ErrNotExist) {
		return corrupt(filesName, -1, "missing")
	}
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return corrupt(filesName, -1, "is not a directory")
	}
	return nil
}

// VerifyFile checks the content of the copy of a file.
func (im *Image) VerifyFile(sha256 string) error {
	f, err := im.SavedFile(sha256)
	if err != nil {
		return err
	}
	return f.Close()
}

// Verify checks everything that Open left unchecked: all page maps and pages,
// the extended states, the copies of files, and that nothing else is there.
func (im *Image) Verify() error {
	if err := im.verify(); err != nil {
		return im.fail(err)
	}
	return nil
}

func (im *Image) verify() error {
	saved := im.Manifest.savedFiles()
	if err := im.checkNames(saved); err != nil {
		return err
	}
	buf := make([]byte, maxRecordPages*PageSize)
	stores, err := im.openStores()
	if err != nil {
		return err
	}
	for _, s := range im.Manifest.Stores {
		err = errors.Join(err, stores[s.Name].verify(buf), stores[s.Name].Close())
	}
	if err != nil {
		return err
	}
	if b := im.Manifest.XState; b.Size > 0 {
		f, err := im.openHashed(b)
		if err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	for _, sum := range slices.Sorted(maps.Keys(saved)) {
		f, err := im.savedFile(sum)
		if err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}

// checkNames refuses files that do not belong to the image. Missing ones are
// found when they are opened.
func (im *Image) checkNames(saved map[string]bool) error {
	known := map[string]bool{manifestName: true, checksumName: true, filesName: len(saved) > 0}
	for _, b := range im.Manifest.blobs() {
		known[b.Name] = b.Size > 0
	}
	if err := im.checkFolder(".", "", known); err != nil {
		return err
	}
	if len(saved) == 0 {
		return nil
	}
	if err := im.checkFilesDir(); err != nil {
		return err
	}
	return im.checkFolder(filesName, filesName+"/", saved)
}

// checkFolder compares the names in a folder of the image with those that may
// be there.
func (im *Image) checkFolder(folder, prefix string, known map[string]bool) error {
	d, err := im.root.Open(folder)
	if err != nil {
		return err
	}
	names, err := d.Readdirnames(-1)
	if err := errors.Join(err, d.Close()); err != nil {
		return err
	}
	for _, name := range names {
		if !known[name] {
			return corrupt(prefix+name, -1, "does not belong to the image")
		}
	}
	return nil
}
