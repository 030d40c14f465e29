package snapshot

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
)

// Sizes of the buffers of a StoreWriter in bytes. Page data in pieces
// of dataBuffer and more is not copied.
const (
	dataBuffer = 64 << 10
	mapBuffer  = 16 << 10
)

// StoreWriter writes one page store. It is used by one goroutine at a time.
//
// One record is open at any time, of data or of zeros. It grows while the pages
// that come continue it and is written to the map when they do not. The data
// itself goes to the page file at once, so that memory is bounded by two buffers.
type StoreWriter struct {
	w       *Writer
	name    string
	data    output
	table   output
	sum     hash.Hash // of the map
	cur     Record    // the open record; none while Pages is 0
	raw     [recordSize]byte
	base    string // store that Inherit means, empty for none
	end     uint64 // address after the last page
	records int
	stored  int64 // bytes of page data
	err     error // the first error; the store is lost after it
	closed  bool
	out     *Store // the store's entry for the manifest; nil until Close has succeeded
}

// Write adds pages at an address, which must not be below the end of what was
// written before. The length of data must be a multiple of PageSize; data is
// not kept. Pages of zeros cost nothing.
func (s *StoreWriter) Write(addr uint64, data []byte) error {
	if s.err == nil {
		s.err = s.checkWrite(addr, len(data))
	}
	for len(data) > 0 && s.err == nil {
		n := s.add(addr, data)
		addr += uint64(n)
		data = data[n:]
	}
	return s.err
}

// SetBase names the store whose pages Inherit means. That store must be closed.
func (s *StoreWriter) SetBase(name string) { s.base = name }

// Inherit adds n bytes of pages at an address that are as they are in the base
// store, which must have all of them. Otherwise it is like Write.
func (s *StoreWriter) Inherit(addr, n uint64) error {
	if s.err == nil {
		s.err = s.checkWrite(addr, int(n))
	}
	for n > 0 && s.err == nil {
		if !s.cur.Base || addr != s.end || s.cur.Pages >= maxZeroPages {
			s.closeRecord()
			s.cur = Record{Addr: addr, Base: true}
		}
		some := min(n, uint64(maxZeroPages-s.cur.Pages)*PageSize)
		s.cur.Pages += int(some / PageSize)
		addr += some
		n -= some
		s.end = addr
	}
	return s.err
}

// checkWrite refuses calls that would make a map that no reader accepts.
func (s *StoreWriter) checkWrite(addr uint64, n int) error {
	switch {
	case s.closed:
		return s.fail(errors.New("written after it was closed"))
	case addr%PageSize != 0 || n%PageSize != 0:
		return s.fail(fmt.Errorf("%d bytes at %#x are not whole pages", n, addr))
	case addr < s.end:
		return s.fail(fmt.Errorf("pages at %#x after pages up to %#x: addresses must ascend", addr, s.end))
	case addr > maxObject || uint64(n) > maxObject-addr:
		return s.fail(fmt.Errorf("%d bytes at %#x: the address is too high", n, addr))
	}
	return nil
}

// fail says in which store an error happened.
func (s *StoreWriter) fail(err error) error {
	return s.w.fail(fmt.Errorf("page store %s: %w", s.name, err))
}

// add takes the first pages of data that belong into one record and returns
// their size in bytes.
func (s *StoreWriter) add(addr uint64, data []byte) int {
	zero := isZeroPage(data)
	limit := maxRecordPages
	if zero {
		limit = maxZeroPages
	}
	if s.cur.Pages == 0 || s.cur.Base || s.cur.Zero != zero || addr != s.end || s.cur.Pages >= limit {
		s.closeRecord()
		s.cur = Record{Addr: addr, Zero: zero}
		if !zero {
			s.cur.Offset = s.stored
		}
	}
	n := run(data, zero, limit-s.cur.Pages)
	s.cur.Pages += n / PageSize
	s.end = addr + uint64(n)
	if !zero {
		s.cur.CRC = crc32.Update(s.cur.CRC, crc32.IEEETable, data[:n])
		s.cur.Stored += n
		s.stored += int64(n)
		if err := s.data.write(data[:n]); err != nil && s.err == nil {
			s.err = s.fail(err)
		}
	}
	return n
}

// closeRecord moves the open record, if there is one, to the map.
func (s *StoreWriter) closeRecord() {
	if s.cur.Pages == 0 || s.err != nil {
		return
	}
	s.cur.put(&s.raw)
	s.cur = Record{}
	s.sum.Write(s.raw[:])
	if err := s.table.write(s.raw[:]); err != nil {
		s.err = s.fail(err)
		return
	}
	if s.records++; s.records > maxRecords {
		s.err = s.fail(fmt.Errorf("more than %d runs of pages, the most that the format allows", maxRecords))
	}
}

// Close finishes the store and returns its entry for the manifest. It must be
// called on every store, before Commit, also after errors.
func (s *StoreWriter) Close() (Store, error) {
	if s.closed {
		return Store{}, s.fail(errors.New("closed twice"))
	}
	s.closed = true
	s.closeRecord()
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	for _, o := range []*output{&s.data, &s.table} {
		if err := o.finish(); err != nil && s.err == nil {
			s.err = s.fail(err)
		}
	}
	if s.err != nil {
		return Store{}, s.err
	}
	out := Store{Name: s.name, Base: s.base, Records: s.records}
	if s.records > 0 {
		out.Map = Blob{Name: s.table.name, Size: int64(s.records) * recordSize, SHA256: hex.EncodeToString(s.sum.Sum(nil))}
	}
	if s.stored > 0 {
		out.Data = Blob{Name: s.data.name, Size: s.stored}
	}
	s.out = &out
	return out, nil
}

var zeroPage [PageSize]byte

// isZeroPage reports whether the first page of data is all zeros.
func isZeroPage(data []byte) bool { return bytes.Equal(data[:PageSize], zeroPage[:]) }

// run returns the size, in bytes, of the pages at the start of data that are
// all zero, or all not, as the first is; at most limit pages.
func run(data []byte, zero bool, limit int) int {
	n := PageSize
	for n < len(data) && n < limit*PageSize && isZeroPage(data[n:]) == zero {
		n += PageSize
	}
	return n
}
