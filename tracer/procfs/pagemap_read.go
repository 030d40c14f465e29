package procfs

import (
	"encoding/binary"
	"syscall"
)

// Bits of an entry of /proc/PID/pagemap.
const (
	entryAlone   = 1 << 56 // nobody else has the page mapped
	entryGuard   = 1 << 58 // since 6.15
	entryFile    = 1 << 61 // page cache: a file's page or shared memory
	entrySwapped = 1 << 62
	entryPresent = 1 << 63

	entrySize = 8
)

// entriesRead is how many bytes of entries are read at a time: 32 MB of memory
// with pages of 4 KB.
const entriesRead = 64 << 10

// match reports whether an entry belongs to a choice of pages.
func (which Pages) match(entry uint64) bool {
	if entry&(entryPresent|entrySwapped) == 0 || entry&entryGuard != 0 {
		return false
	}
	return which != PrivateFile || entry&entryFile == 0
}

// isGuard reports whether an entry is one of a guard region.
func isGuard(entry uint64) bool { return entry&entryGuard != 0 }

// maybeCommon reports whether an entry is of a private page that another process
// may have as well, since a fork. What is swapped out may always be.
func maybeCommon(entry uint64) bool {
	if entry&entrySwapped != 0 {
		return entry&entryGuard == 0
	}
	return entry&entryPresent != 0 && entry&(entryFile|entryAlone|entryGuard) == 0
}

// readEntries appends the matching ranges to buf, found page by page.
func (p *Pagemap) readEntries(start, end uint64, match func(uint64) bool, buf []Range) ([]Range, error) {
	if p.entries == nil {
		p.entries = make([]byte, entriesRead)
	}
	first := len(buf)
	for start < end {
		want := min(uint64(len(p.entries)), (end-start)/pageSize*entrySize)
		n, err := pread(p.fd, p.entries[:want], int64(start/pageSize*entrySize))
		if err != nil {
			return buf, err
		}
		if n < entrySize {
			return buf, p.endOfEntries()
		}
		for i := 0; i+entrySize <= n; i += entrySize {
			entry := binary.NativeEndian.Uint64(p.entries[i:])
			if entry != 0 && match(entry) {
				buf = add(buf, first, Range{start, start + pageSize})
			}
			start += pageSize
		}
	}
	return buf, nil
}

// endOfEntries tells why there are no more: beyond the last address of a living
// process there is nothing to find, which is no error.
func (p *Pagemap) endOfEntries() error {
	if p.alive() != nil {
		return syscall.ESRCH
	}
	return nil
}
