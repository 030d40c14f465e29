package snapshot

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// copyBuffer is the size of the pieces in which files are copied and hashed.
const copyBuffer = 1 << 20

// SaveFile copies what r holds into the image, unless the image has the same
// content already, and returns its SHA-256 and size in bytes.
func (w *Writer) SaveFile(r io.Reader) (sum string, size int64, err error) {
	temp, f, err := w.createSaved()
	if err != nil {
		return "", 0, err
	}
	h := sha256.New()
	size, err = io.CopyBuffer(onlyWriter{io.MultiWriter(f, h)}, onlyReader{r}, make([]byte, copyBuffer))
	if err != nil {
		err = fmt.Errorf("copy a file into image %s: %w", w.dir, err)
		return "", 0, errors.Join(err, f.Close(), w.root.Remove(temp))
	}
	sum = hex.EncodeToString(h.Sum(nil))
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.saved[sum]; ok {
		err = errors.Join(f.Close(), w.root.Remove(temp))
	} else if err = w.root.Rename(temp, filesName+"/"+sum); err == nil {
		w.saved[sum] = size
		err = w.finishFile(f)
	}
	if err != nil {
		return "", 0, w.fail(err)
	}
	return sum, size, nil
}

// createSaved makes a new file with a temporary name in the folder of copies.
func (w *Writer) createSaved() (string, *os.File, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.finished {
		return "", nil, w.fail(errFinished)
	}
	if err := w.root.Mkdir(filesName, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", nil, w.fail(err)
	}
	temp := filesName + "/." + randomHex(8)
	f, err := w.createFile(temp)
	return temp, f, err
}

// onlyReader and onlyWriter hide other methods from io.CopyBuffer, which would
// prefer them to the buffer.
type (
	onlyReader struct{ io.Reader }
	onlyWriter struct{ io.Writer }
)
