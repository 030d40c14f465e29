package snapshot

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
)

// StoreReader is an open page store whose map has been checked. It may be used
// by several goroutines.
type StoreReader struct {
	name    string
	path    string
	data    *os.File // nil when there is no page data
	records []Record
}

// Store opens the page store with a name such as "mm-1". Its map is read and
// checked; page data is checked record by record when it is read.
func (im *Image) Store(name string) (*StoreReader, error) {
	for _, s := range im.Manifest.Stores {
		if s.Name == name {
			r, err := im.openStore(s)
			if err != nil {
				return nil, im.fail(err)
			}
			return r, nil
		}
	}
	return nil, im.fail(fmt.Errorf("there is no page store %q", name))
}

// openStore opens a page store that the manifest describes.
func (im *Image) openStore(s Store) (*StoreReader, error) {
	r := &StoreReader{name: s.Name}
	if s.Records == 0 {
		return r, nil
	}
	records, err := im.readMap(s)
	if err != nil {
		return nil, err
	}
	r.records = records
	if s.Data.Size == 0 {
		return r, nil
	}
	if r.data, err = im.openBlob(s.Data); err != nil {
		return nil, err
	}
	r.path = filepath.Join(im.dir, s.Data.Name)
	return r, nil
}

// readMap reads and checks a page map.
func (im *Image) readMap(s Store) ([]Record, error) {
	f, err := im.openBlob(s.Map)
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	in := bufio.NewReaderSize(io.TeeReader(f, sum), copyBuffer)
	p := mapParser{file: s.Map.Name, ranges: im.Manifest.storeRanges(s.Name), size: s.Data.Size}
	records, err := p.parse(in, s.Records)
	if err == nil && hex.EncodeToString(sum.Sum(nil)) != s.Map.SHA256 {
		err = corrupt(s.Map.Name, -1, "its SHA-256 is not the one in the manifest")
	}
	return records, errors.Join(err, f.Close())
}

// Records returns all records with ascending addresses. It must not be changed.
func (s *StoreReader) Records() []Record { return s.records }

// File returns the open page file, nil when the store has no page data. The
// offsets of the records refer to it.
func (s *StoreReader) File() *os.File { return s.data }

// Path returns the absolute path of the page file, "" when the store has no
// page data.
func (s *StoreReader) Path() string { return s.path }

// Close closes the page file.
func (s *StoreReader) Close() error {
	if s.data == nil {
		return nil
	}
	return s.data.Close()
}

// ReadRecord returns the content of the pages of a record, after checking it,
// in buf if that has room for r.Len() bytes. A zero record has no content:
// the result is empty, and the caller knows from r.Zero what the pages hold.
func (s *StoreReader) ReadRecord(r Record, buf []byte) ([]byte, error) {
	if r.Zero {
		return buf[:0], nil
	}
	if s.data == nil || r.Codec != codecRaw || r.Stored < 0 || r.Stored > maxRecordPages*PageSize {
		return nil, fmt.Errorf("page store %s has no record at %#x", s.name, r.Addr)
	}
	if cap(buf) < r.Stored {
		buf = make([]byte, r.Stored)
	}
	buf = buf[:r.Stored]
	name := s.name + dataSuffix
	if n, err := s.data.ReadAt(buf, r.Offset); n < len(buf) {
		return nil, readError(name, err)
	}
	if sum := crc32.ChecksumIEEE(buf); sum != r.CRC {
		return nil, corrupt(name, r.Offset, "the pages at %#x have CRC-32 %08x, their record says %08x", r.Addr, sum, r.CRC)
	}
	return buf, nil
}

// VerifyRecord checks the content of one record. It reads the data; to check
// many records, ReadRecord with a buffer of 1 MiB is cheaper.
func (s *StoreReader) VerifyRecord(r Record) error {
	_, err := s.ReadRecord(r, nil)
	return err
}

// verify checks the content of all records.
func (s *StoreReader) verify(buf []byte) error {
	for _, r := range s.records {
		if _, err := s.ReadRecord(r, buf); err != nil {
			return err
		}
	}
	return nil
}
