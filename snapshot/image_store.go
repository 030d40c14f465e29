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
	base    *StoreReader // nil: none
	owned   bool         // Close closes the base too
}

// Store opens the page store with a name such as "mm-1", and those that it is based
// on. Its map is read and checked; page data is checked record by record when it is
// read.
func (im *Image) Store(name string) (*StoreReader, error) {
	for _, s := range im.Manifest.Stores {
		if s.Name != name {
			continue
		}
		var base *StoreReader
		var err error
		if s.Base != "" {
			if base, err = im.Store(s.Base); err != nil {
				return nil, err
			}
		}
		r, err := im.openStore(s, base)
		if err != nil {
			if base != nil {
				err = errors.Join(err, base.Close())
			}
			return nil, im.fail(err)
		}
		r.owned = base != nil
		return r, nil
	}
	return nil, im.fail(fmt.Errorf("there is no page store %q", name))
}

// Stores opens all page stores, by name. Those that are based on another one share
// it.
func (im *Image) Stores() (map[string]*StoreReader, error) {
	all, err := im.openStores()
	if err != nil {
		return nil, im.fail(err)
	}
	return all, nil
}

func (im *Image) openStores() (map[string]*StoreReader, error) {
	all := map[string]*StoreReader{}
	for _, s := range im.Manifest.Stores { // a base comes before those that are based on it
		r, err := im.openStore(s, all[s.Base])
		if err != nil {
			for _, r := range all {
				err = errors.Join(err, r.Close())
			}
			return nil, err
		}
		all[s.Name] = r
	}
	return all, nil
}

// openStore opens a page store that the manifest describes.
func (im *Image) openStore(s Store, base *StoreReader) (*StoreReader, error) {
	r := &StoreReader{name: s.Name, base: base}
	if s.Records == 0 {
		return r, nil
	}
	records, err := im.readMap(s)
	if err != nil {
		return nil, err
	}
	r.records = records
	if err := r.checkBase(s.Map.Name); err != nil {
		return nil, err
	}
	if s.Data.Size == 0 {
		return r, nil
	}
	if r.data, err = im.openBlob(s.Data); err != nil {
		return nil, err
	}
	r.path = filepath.Join(im.dir, s.Data.Name)
	return r, nil
}

// checkBase checks that the base has every page that is said to be there.
func (s *StoreReader) checkBase(file string) error {
	if s.base == nil {
		return nil
	}
	have := s.base.records
	for i, r := range s.records {
		if !r.Base {
			continue
		}
		at := r.Addr
		for len(have) > 0 && have[0].Addr+have[0].Len() <= at {
			have = have[1:]
		}
		for n := 0; n < len(have) && have[n].Addr <= at && at < r.Addr+r.Len(); n++ {
			at = have[n].Addr + have[n].Len()
		}
		if at < r.Addr+r.Len() {
			return corrupt(file, int64(i)*recordSize, "the base has no page at %#x", at)
		}
	}
	return nil
}

// Piece is a run of pages and where they are.
type Piece struct {
	Addr, Len uint64       // of the memory, bytes
	Store     *StoreReader // whose page file has them; nil: they are zeros
	Offset    int64        // in the page file
	Base      bool         // they are those of the base store
}

// Pieces returns all pages of the store with ascending addresses. Pages that are in
// the base are looked up there.
func (s *StoreReader) Pieces() []Piece {
	pieces := make([]Piece, 0, len(s.records))
	var base []Piece
	if s.base != nil {
		base = s.base.Pieces()
	}
	for _, r := range s.records {
		p := Piece{Addr: r.Addr, Len: r.Len(), Store: s, Offset: r.Offset}
		switch {
		case r.Zero:
			p.Store = nil
		case r.Base:
			for len(base) > 0 && base[0].Addr+base[0].Len <= r.Addr {
				base = base[1:]
			}
			for n := 0; n < len(base) && base[n].Addr < r.Addr+r.Len(); n++ {
				pieces = append(pieces, base[n].part(r.Addr, r.Addr+r.Len()))
			}
			continue
		}
		pieces = append(pieces, p)
	}
	return pieces
}

// part returns the part of a piece that lies between two addresses, as one of the
// base.
func (p Piece) part(from, to uint64) Piece {
	start, end := max(p.Addr, from), min(p.Addr+p.Len, to)
	p.Offset += int64(start - p.Addr)
	p.Addr, p.Len, p.Base = start, end-start, true
	return p
}

// readMap reads and checks a page map.
func (im *Image) readMap(s Store) ([]Record, error) {
	f, err := im.openBlob(s.Map)
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	in := bufio.NewReaderSize(io.TeeReader(f, sum), copyBuffer)
	p := mapParser{file: s.Map.Name, ranges: im.Manifest.storeRanges(s.Name), size: s.Data.Size, based: s.Base != ""}
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

// Close closes the page file, and what Store has opened with it.
func (s *StoreReader) Close() error {
	var err error
	if s.owned {
		err = s.base.Close()
	}
	if s.data == nil {
		return err
	}
	return errors.Join(err, s.data.Close())
}

// ReadRecord returns the content of the pages of a record, after checking it,
// in buf if that has room for r.Len() bytes. A record of zeros or of the base has no
// content: the result is empty.
func (s *StoreReader) ReadRecord(r Record, buf []byte) ([]byte, error) {
	if r.Zero || r.Base {
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
