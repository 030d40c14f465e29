package snapshot

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// Image is an open image. It may be used by several goroutines.
type Image struct {
	Manifest *Manifest // must not be changed

	root *os.Root
	dir  string

	mu     sync.Mutex
	xstate *os.File // nil until its checksum has been verified
}

// Open opens the image in the directory dir and checks its manifest. The
// caller must Close it. Errors are ErrNotImage, *VersionError, *CorruptError
// or those of the file system. Page maps and data are checked when they are
// used, or all at once by Verify.
func Open(dir string) (*Image, error) {
	path, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", dir, err)
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", dir, err)
	}
	return openRoot(root, path)
}

// openRoot opens the image in root and takes root over.
func openRoot(root *os.Root, dir string) (*Image, error) {
	im := &Image{root: root, dir: dir}
	data, err := im.readManifest()
	if err == nil {
		im.Manifest, err = decodeManifest(data)
	}
	if err != nil {
		return nil, errors.Join(im.fail(err), root.Close())
	}
	return im, nil
}

// fail says in which image something is wrong.
func (im *Image) fail(err error) error { return fmt.Errorf("image %s: %w", im.dir, err) }

// Dir returns the absolute path of the image.
func (im *Image) Dir() string { return im.dir }

// Close releases the image. Stores and files that were opened through it stay open.
func (im *Image) Close() error {
	im.mu.Lock()
	defer im.mu.Unlock()
	err := im.root.Close()
	if im.xstate != nil {
		err = errors.Join(err, im.xstate.Close())
		im.xstate = nil
	}
	return err
}

// readManifest reads manifest.json and checks it against manifest.sha256.
func (im *Image) readManifest() ([]byte, error) {
	if _, err := im.root.Lstat(manifestName); errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotImage
	}
	data, err := im.readSmall(manifestName, maxManifest)
	if err != nil {
		return nil, err
	}
	want := checksumLine(data)
	line, err := im.readSmall(checksumName, int64(len(want)))
	if err != nil {
		return nil, err
	}
	// All but the digits is fixed: a fault there is one of the checksum file.
	if at := firstDifference(line, []byte(want)); at >= 64 || (at >= 0 && !isSHA256(string(line[:min(64, len(line))]))) {
		return nil, corrupt(checksumName, at, "not in the form of sha256sum")
	} else if at >= 0 {
		return nil, corrupt(manifestName, -1, "its SHA-256 is not the one in %s", checksumName)
	}
	return data, nil
}

// readSmall reads a whole file of at most limit bytes.
func (im *Image) readSmall(name string, limit int64) ([]byte, error) {
	f, size, err := im.openFile(name)
	if err != nil {
		return nil, err
	}
	if size > limit {
		return nil, errors.Join(corrupt(name, limit, "%d bytes long, at most %d are possible", size, limit), f.Close())
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, errors.Join(readError(name, err), f.Close())
	}
	return data, f.Close()
}

// readError tells a file that became shorter while it was read from a failing disk.
func readError(name string, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return corrupt(name, -1, "ends too early")
	}
	return fmt.Errorf("read %s: %w", name, err)
}

// openFile opens a file of the image, which must be regular and not a link,
// and returns its size. A link or anything else is refused before it is opened,
// as opening some objects has effects or blocks.
func (im *Image) openFile(name string) (*os.File, int64, error) {
	before, err := im.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, corrupt(name, -1, "missing")
	}
	if err != nil {
		return nil, 0, err
	}
	if !before.Mode().IsRegular() {
		return nil, 0, corrupt(name, -1, "is a %s, not a regular file", kindOf(before.Mode()))
	}
	f, err := im.root.Open(name)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	if !os.SameFile(before, info) {
		return nil, 0, errors.Join(corrupt(name, -1, "was replaced while it was opened"), f.Close())
	}
	return f, info.Size(), nil
}

// kindOf names the type of a file that should be a regular one.
func kindOf(mode fs.FileMode) string {
	switch {
	case mode&fs.ModeSymlink != 0:
		return "symbolic link"
	case mode.IsDir():
		return "directory"
	default:
		return "special file"
	}
}

// openBlob opens a file that the manifest describes and checks its size.
func (im *Image) openBlob(b Blob) (*os.File, error) {
	f, size, err := im.openFile(b.Name)
	if err != nil {
		return nil, err
	}
	if size != b.Size {
		err := corrupt(b.Name, min(size, b.Size), "%d bytes long, the manifest says %d", size, b.Size)
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
