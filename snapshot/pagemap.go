package snapshot

import (
	"encoding/binary"
	"errors"
	"io"
)

// recordSize is the size of a record in a page map in bytes.
const recordSize = 32

// Values of the codec and flags fields of a record.
const (
	codecRaw = 0
	flagZero = 1 << 0
	flagBase = 1 << 1
)

// Record is an entry of a page map: a run of pages with consecutive addresses.
type Record struct {
	Addr   uint64 // of the first page; in a shared memory, its offset in the object
	Offset int64  // of the data in the page file; 0 in a record that stores nothing
	Pages  int    // number of pages
	Stored int    // bytes in the page file; 0 in a record of zeros or of the base
	CRC    uint32 // CRC-32 (IEEE) of the stored bytes
	Codec  uint8  // 0: raw
	Zero   bool   // all pages read as zeros, nothing is stored
	Base   bool   // the pages are those of the base store at the same addresses
}

// Len returns the number of bytes of memory that the record covers.
func (r Record) Len() uint64 { return uint64(r.Pages) * PageSize }

// put writes the record in its form on disk.
func (r Record) put(b *[recordSize]byte) {
	binary.LittleEndian.PutUint64(b[0:], r.Addr)
	binary.LittleEndian.PutUint64(b[8:], uint64(r.Offset))
	binary.LittleEndian.PutUint32(b[16:], uint32(r.Pages))
	binary.LittleEndian.PutUint32(b[20:], uint32(r.Stored))
	binary.LittleEndian.PutUint32(b[24:], r.CRC)
	b[28] = r.Codec
	b[29] = 0
	switch {
	case r.Zero:
		b[29] = flagZero
	case r.Base:
		b[29] = flagBase
	}
	b[30], b[31] = 0, 0
}

// mapParser checks the records of one page map as they come.
type mapParser struct {
	file   string
	ranges []Range // where records may lie: ascending, not overlapping, not touching
	end    uint64  // address after the last record
	data   int64   // end of the page data so far
	size   int64   // of the page file
	based  bool    // the store has a base
}

// parse reads n records from in, which must end there.
func (p *mapParser) parse(in io.Reader, n int) ([]Record, error) {
	records := make([]Record, 0, n)
	var b [recordSize]byte
	for i := range n {
		at := int64(i) * recordSize
		if _, err := io.ReadFull(in, b[:]); err != nil {
			return nil, p.readError(at, err)
		}
		r, reason := p.record(&b)
		if reason != "" {
			return nil, corrupt(p.file, at, "%s", reason)
		}
		records = append(records, r)
	}
	at := int64(n) * recordSize
	if _, err := io.ReadFull(in, b[:1]); !errors.Is(err, io.EOF) {
		return nil, corrupt(p.file, at, "there is more than the %d records that the manifest tells of", n)
	}
	if p.data != p.size {
		return nil, corrupt(p.file, at, "the records use %d bytes of page data, there are %d", p.data, p.size)
	}
	return records, nil
}

// readError tells a short file from a failing disk.
func (p *mapParser) readError(at int64, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return corrupt(p.file, at, "ends too early")
	}
	return err
}

// record decodes one record and says what is wrong with it.
func (p *mapParser) record(b *[recordSize]byte) (r Record, reason string) {
	r.Addr = binary.LittleEndian.Uint64(b[0:])
	offset := binary.LittleEndian.Uint64(b[8:])
	pages := binary.LittleEndian.Uint32(b[16:])
	stored := binary.LittleEndian.Uint32(b[20:])
	r.CRC = binary.LittleEndian.Uint32(b[24:])
	r.Codec = b[28]
	r.Zero, r.Base = b[29] == flagZero, b[29] == flagBase
	stores := !r.Zero && !r.Base
	r.Offset, r.Pages, r.Stored = int64(offset), int(pages), int(stored)
	switch {
	case b[29] != 0 && stores:
		return r, "a reserved flag is set"
	case r.Base && !p.based:
		return r, "the store has no base"
	case b[30]|b[31] != 0:
		return r, "a reserved field is not zero"
	case r.Codec != codecRaw:
		return r, "unknown codec"
	case r.Addr%PageSize != 0:
		return r, "the address is not page-aligned"
	case pages == 0:
		return r, "no pages"
	case r.Addr < p.end:
		return r, "the address is not above the record before"
	case !p.inside(r.Addr, r.Len()):
		return r, "the record is outside the memory that it belongs to"
	case !stores && offset|uint64(stored)|uint64(r.CRC) != 0:
		return r, "a record of zeros or of the base stores data"
	case stores && pages > maxRecordPages:
		return r, "too many pages"
	case stores && uint64(stored) != r.Len():
		return r, "the stored size is not that of the pages"
	case stores && offset != uint64(p.data):
		return r, "the data does not begin where that of the record before ends"
	case stores && r.Len() > uint64(p.size-p.data):
		return r, "the data goes past the end of the page file"
	}
	p.end = r.Addr + r.Len()
	p.data += int64(stored)
	return r, ""
}

// inside reports whether n bytes at addr lie in one of the ranges. As records
// ascend, ranges below addr are dropped.
func (p *mapParser) inside(addr, n uint64) bool {
	for len(p.ranges) > 0 && uint64(p.ranges[0].End) <= addr {
		p.ranges = p.ranges[1:]
	}
	if len(p.ranges) == 0 {
		return false
	}
	r := p.ranges[0]
	return addr >= uint64(r.Start) && n <= uint64(r.End)-addr
}
