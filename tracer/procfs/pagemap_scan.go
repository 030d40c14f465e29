package procfs

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Categories of pages, PAGE_IS_* of linux/fs.h.
const (
	pageIsFile    = 1 << 2 // page cache: a file's page, not a private copy; shared memory too
	pageIsPresent = 1 << 3
	pageIsSwapped = 1 << 4 // whatever is neither present nor none: swap, migration, markers
	pageIsPFNZero = 1 << 5 // the shared zero page
	pageIsGuard   = 1 << 8 // since 6.16
)

// pageRegion is struct page_region.
type pageRegion struct{ start, end, categories uint64 }

// scanArg is struct pm_scan_arg.
type scanArg struct {
	size, flags, start, end, walkEnd, vec, vecLen, maxPages uint64
	inverted, mask, anyOf, returned                         uint64
}

// query chooses pages: those in all categories of mask, in none of without, and
// in one of anyOf if that is not zero.
type query struct{ mask, without, anyOf uint64 }

// query translates a choice of pages.
//
// A swapped page counts whatever it was: a private copy that is in swap is not
// PAGE_IS_FILE, as its swap entry has no page to look at, and a page of a file
// or of shared memory leaves the page table entirely when it is evicted. The
// one swap-like entry that can be PAGE_IS_FILE is a page under migration.
func (which Pages) query(mode scanMode) query {
	q := query{anyOf: pageIsPresent | pageIsSwapped, without: pageIsPFNZero}
	if which == PrivateFile {
		q.without = pageIsFile
	}
	if mode == scanGuards {
		q.without |= pageIsGuard
	}
	return q
}

// fill stores a query. The kernel wants "not in" as an inverted category that
// is in the mask. No category is returned, so that neighbours are joined.
func (q query) fill(a *scanArg) {
	a.mask, a.inverted, a.anyOf = q.mask|q.without, q.without, q.anyOf
}

// scanRegions is the number of regions that one ioctl returns at most: 96 KiB of them.
const scanRegions = 4096

// scan appends the matching ranges to buf.
func (p *Pagemap) scan(start, end uint64, q query, buf []Range) ([]Range, error) {
	if p.regions == nil {
		p.regions = make([]pageRegion, scanRegions)
	}
	first := len(buf)
	for start < end {
		arg := scanArg{start: start, end: end}
		q.fill(&arg)
		n, err := ioctlScan(p.fd, &arg, p.regions)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return buf, err
		}
		for _, r := range p.regions[:n] {
			buf = add(buf, first, Range{r.start, r.end})
		}
		if n < len(p.regions) {
			break
		}
		// Full, so there may be more. walk_end can lag behind the last region
		// when the kernel has flushed its own buffer in between (seen on 6.18).
		next := max(arg.walkEnd, p.regions[n-1].end)
		if next <= start {
			return buf, fmt.Errorf("%w: the scan stands still at %#x", unix.EIO, start)
		}
		start = next
	}
	return buf, nil
}
