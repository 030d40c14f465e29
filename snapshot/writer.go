package snapshot

import (
	"bufio"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// errFinished answers calls after Commit or Abort.
var errFinished = errors.New("the image is finished or given up already")

// maxUnsynced is how many written files stay open until Commit syncs them, so
// that a checkpoint does not wait for the disk while the program is stopped.
// Beyond it files are synced as they are finished, to save descriptors.
const maxUnsynced = 512

// Writer makes one image. Nothing can be seen under the image's name before
// Commit. Its methods may be called by several goroutines, but Commit and Abort
// only when all others have returned.
type Writer struct {
	dir    string   // final path, absolute
	base   string   // final name in parent
	temp   string   // name of the temporary directory in parent
	parent *os.Root // the directory that the image will lie in
	root   *os.Root // the temporary directory

	mu       sync.Mutex
	finished bool // committed, or given up
	tried    bool // Commit was called
	stores   map[string]*StoreWriter
	saved    map[string]int64 // sizes of saved files by SHA-256
	unsynced []*os.File
	xstate   *os.File
	xsum     hash.Hash
	xsize    int64
}

// Create starts an image that will be the directory dir. The parent of dir must
// exist. The error Is fs.ErrExist when dir exists already. The caller must call
// Abort in the end, which does nothing after a successful Commit.
func Create(dir string) (*Writer, error) {
	path, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", dir, err)
	}
	w := &Writer{
		dir: path, base: filepath.Base(path),
		stores: map[string]*StoreWriter{}, saved: map[string]int64{}, xsum: sha256.New(),
	}
	if w.parent, err = os.OpenRoot(filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("image %s: the folder that it is to lie in can't be opened: %w; create it first", dir, err)
	}
	if err = w.checkFree(); err == nil {
		err = w.makeTemp()
	}
	if err != nil {
		return nil, errors.Join(err, w.parent.Close())
	}
	return w, nil
}

// checkFree fails if something has the image's final name.
func (w *Writer) checkFree() error {
	_, err := w.parent.Lstat(w.base)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("image %s: %w", w.dir, err)
	}
	return w.errExists()
}

// errExists is the answer to a final name that is taken.
func (w *Writer) errExists() error {
	return fmt.Errorf("image %s: %w; images are never overwritten, choose another name or remove it", w.dir, fs.ErrExist)
}

// makeTemp makes and opens the temporary directory.
func (w *Writer) makeTemp() error {
	w.temp = partName(w.base)
	if err := w.parent.Mkdir(w.temp, 0o700); err != nil {
		return fmt.Errorf("image %s: can't make a directory in %s: %w", w.dir, filepath.Dir(w.dir), err)
	}
	root, err := w.parent.OpenRoot(w.temp)
	if err != nil {
		return errors.Join(fmt.Errorf("image %s: %w", w.dir, err), w.parent.Remove(w.temp))
	}
	w.root = root
	return nil
}

// randomHex returns n random bytes as hexadecimal digits.
func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return hex.EncodeToString(b)
}

// Part returns the path of the directory that the image is written into before it
// gets its name.
func (w *Writer) Part() string { return filepath.Join(filepath.Dir(w.dir), w.temp) }

// createFile makes a new file in the image.
func (w *Writer) createFile(name string) (*os.File, error) {
	f, err := w.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", w.dir, err)
	}
	return f, nil
}

// fail says in which image a write went wrong.
func (w *Writer) fail(err error) error { return fmt.Errorf("image %s: %w", w.dir, err) }

// finishFile takes over a file that is completely written. w.mu must be held.
func (w *Writer) finishFile(f *os.File) error {
	if len(w.unsynced) < maxUnsynced {
		w.unsynced = append(w.unsynced, f)
		return nil
	}
	return syncAndClose(f)
}

// syncAndClose brings a file to the disk.
func syncAndClose(f *os.File) error { return errors.Join(f.Sync(), f.Close()) }

// Store starts the page store with a name such as "mm-1" or "shm-2". Stores can
// be filled at the same time.
func (w *Writer) Store(name string) (*StoreWriter, error) {
	if !isStoreName(name) {
		return nil, w.fail(fmt.Errorf("%q is no name of a page store, want \"mm-N\" or \"shm-N\"", name))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.finished {
		return nil, w.fail(errFinished)
	}
	if _, ok := w.stores[name]; ok {
		return nil, w.fail(fmt.Errorf("page store %s: %w", name, fs.ErrExist))
	}
	s := &StoreWriter{w: w, name: name, sum: sha256.New()}
	s.data = output{w: w, name: name + dataSuffix, size: dataBuffer}
	s.table = output{w: w, name: name + mapSuffix, size: mapBuffer}
	w.stores[name] = s
	return s, nil
}

// AddXState appends the extended state of one thread and says where it lies.
func (w *Writer) AddXState(state []byte) (Extent, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.finished {
		return Extent{}, w.fail(errFinished)
	}
	e := Extent{Offset: w.xsize, Size: int64(len(state))}
	if len(state) == 0 {
		return e, nil
	}
	if w.xstate == nil {
		f, err := w.createFile(xstateName)
		if err != nil {
			return Extent{}, err
		}
		w.xstate = f
	}
	n, err := w.xstate.Write(state)
	w.xsum.Write(state[:n])
	w.xsize += int64(n)
	if err != nil {
		return Extent{}, w.fail(err)
	}
	return e, nil
}

// output is a file of the image that comes into being with its first byte.
type output struct {
	w    *Writer
	name string
	size int // of the buffer
	f    *os.File
	buf  *bufio.Writer
}

// open makes the file unless it is there.
func (o *output) open() error {
	if o.f != nil {
		return nil
	}
	f, err := o.w.createFile(o.name)
	if err != nil {
		return err
	}
	o.f, o.buf = f, bufio.NewWriterSize(f, o.size)
	return nil
}

// write appends p. Large pieces go to the file without being copied.
func (o *output) write(p []byte) error {
	if err := o.open(); err != nil {
		return err
	}
	if len(p) < o.size {
		_, err := o.buf.Write(p)
		return err
	}
	if err := o.buf.Flush(); err != nil {
		return err
	}
	_, err := o.f.Write(p)
	return err
}

// finish writes out what is buffered and hands the file over. w.mu must be held.
func (o *output) finish() error {
	if o.f == nil {
		return nil
	}
	f, err := o.f, o.buf.Flush()
	o.f, o.buf = nil, nil
	if err != nil {
		return errors.Join(err, f.Close())
	}
	return o.w.finishFile(f)
}

// drop closes the file of a store that was not finished.
func (o *output) drop() {
	if o.f != nil {
		_ = o.f.Close() // its content does not count any more
	}
}

// Abort gives the image up and removes what was written of it. After a
// successful Commit or an earlier Abort it does nothing.
func (w *Writer) Abort() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.finished {
		return nil
	}
	w.finished = true
	for _, f := range append(w.unsynced, w.xstate) {
		_ = f.Close() // its content does not count any more
	}
	for _, s := range w.stores {
		s.data.drop()
		s.table.drop()
	}
	err := errors.Join(w.root.Close(), w.parent.RemoveAll(w.temp), w.parent.Close())
	if err != nil {
		return fmt.Errorf("image %s: remove what was written of it: %w", w.dir, err)
	}
	return nil
}
