package procfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Range is a half-open range of addresses.
type Range struct{ Start, End uint64 }

// Pages chooses what Present looks for.
type Pages int

// The choices.
const (
	// Populated pages are those that the process has touched, without those
	// that still are the shared zero page. For private anonymous memory, where
	// a page that is not reported reads as zeros.
	//
	// For MAP_SHARED memory it tells only what this process has mapped at the
	// moment. The object may hold more: pages that others wrote, that were
	// swapped out, that the process dropped by MADV_DONTNEED. None of these
	// leaves a trace in the page table.
	Populated Pages = iota
	// PrivateFile pages are those that a private mapping of a file has of its
	// own, where a page that is not reported reads as the file does. A zero page
	// counts: none gets there but by userfaultfd or by same-page merging, and
	// then it stands for zeros and not for the file.
	PrivateFile
)

// Pagemap answers which pages of an address space hold data. It stays with
// the address space that the process had when it was opened: after an execve it
// has to be opened again. It belongs to one goroutine.
//
// Where the kernel has the PAGEMAP_SCAN ioctl (6.7), a scan costs time for what
// is there and little for what is not. Older kernels have to be asked page by
// page, 5 ms for each GB of holes: skip areas for which ReadSmaps shows neither
// RSS nor Swap. They also cannot tell the zero page, which is then reported.
//
// A page that userfaultfd has write-protected before it was ever touched looks
// as if it were swapped out; it is reported, and reads as it always did. Areas
// with VM_PFNMAP ("pf" in the flags: device memory, vvar) are never reported.
type Pagemap struct {
	pid     int
	fd      int
	mode    scanMode
	regions []pageRegion // buffer for the ioctl
	entries []byte       // buffer for reading
}

// scanMode is what the kernel offers.
type scanMode int

const (
	scanGuards scanMode = iota // the ioctl, which knows guard regions
	scanPlain                  // the ioctl, which takes guard regions for swapped pages
	readOnly                   // no ioctl
)

// OpenPagemap opens the page map of a process that the caller may trace. The
// caller closes it. A process without an address space (a zombie, a kernel
// thread) is as good as gone: the error is ESRCH.
func OpenPagemap(pid int) (*Pagemap, error) {
	fd, err := openFile(pidPath(pid, "pagemap"))
	if err != nil {
		return nil, err
	}
	p := &Pagemap{pid: pid, fd: fd}
	// Some kernels follow a null pointer when the ioctl is used on a file without
	// an address space, so look for one first.
	if err = p.alive(); err == nil {
		p.mode, err = p.probe()
	}
	if err != nil {
		p.Close()
		return nil, p.fail(err)
	}
	return p, nil
}

// Close closes the page map. A second call does nothing.
func (p *Pagemap) Close() error { return closeOnce(&p.fd) }

// Present appends the ranges of pages in [start, end) that hold data to buf:
// ascending, disjoint, not adjacent. Guard regions hold none. start and end
// are multiples of the page size, in the lower half of the address space.
// If the process ended meanwhile, the error is ESRCH.
func (p *Pagemap) Present(start, end uint64, which Pages, buf []Range) ([]Range, error) {
	if err := checkRange(start, end); err != nil {
		return buf, p.fail(err)
	}
	first := len(buf)
	var err error
	if p.mode == readOnly {
		buf, err = p.readEntries(start, end, which.match, buf)
	} else {
		buf, err = p.scan(start, end, which.query(p.mode), buf)
	}
	if err == nil && p.mode == scanPlain && len(buf) > first {
		var guards []Range
		if guards, err = p.guards(start, end); err == nil {
			buf = append(buf[:first], subtract(buf[first:], guards)...)
		}
	}
	if err == nil {
		err = p.alive()
	}
	if err != nil {
		return buf[:first], p.fail(err)
	}
	return buf, nil
}

// Guards lists the guard regions (MADV_GUARD_INSTALL) in [start, end), with the
// rules of Present. It finds none on kernels that do not tell (before 6.15).
func (p *Pagemap) Guards(start, end uint64) ([]Range, error) {
	err := checkRange(start, end)
	var out []Range
	if err == nil {
		out, err = p.guards(start, end)
	}
	if err == nil {
		err = p.alive()
	}
	if err != nil {
		return nil, p.fail(err)
	}
	return out, nil
}

// Common appends the ranges of private pages in [start, end) that other processes may
// have as well, because neither has written to them since a fork, with the rules of
// Present.
func (p *Pagemap) Common(start, end uint64, buf []Range) ([]Range, error) {
	if err := checkRange(start, end); err != nil {
		return buf, p.fail(err)
	}
	first := len(buf)
	buf, err := p.readEntries(start, end, maybeCommon, buf)
	if err == nil {
		err = p.alive()
	}
	if err != nil {
		return buf[:first], p.fail(err)
	}
	return buf, nil
}

// guards finds guard regions by the best way there is.
func (p *Pagemap) guards(start, end uint64) ([]Range, error) {
	switch p.mode {
	case scanGuards:
		return p.scan(start, end, query{mask: pageIsGuard}, nil)
	case readOnly:
		return p.readEntries(start, end, isGuard, nil)
	}
	// This ioctl calls them swapped; their entries say which really are.
	suspects, err := p.scan(start, end, query{anyOf: pageIsSwapped}, nil)
	var out []Range
	for _, r := range suspects {
		if err == nil {
			out, err = p.readEntries(r.Start, r.End, isGuard, out)
		}
	}
	return out, err
}

// alive tells by ESRCH that the address space is no more. The ioctl does not:
// it finds a dead one empty, and an image without pages would be the result.
func (p *Pagemap) alive() error {
	var entry [entrySize]byte
	n, err := pread(p.fd, entry[:], 0)
	if err == nil && n == 0 {
		return syscall.ESRCH
	}
	return err
}

// fail names the file in an error.
func (p *Pagemap) fail(err error) error {
	return &fs.PathError{Op: "scan", Path: pidPath(p.pid, "pagemap"), Err: err}
}

// pageSize is the size of a page, a power of two.
var pageSize = uint64(os.Getpagesize())

// checkRange refuses what the kernel would misunderstand.
func checkRange(start, end uint64) error {
	if start > end || (start|end)&(pageSize-1) != 0 || end >= 1<<63 {
		return fmt.Errorf("%w: addresses %#x to %#x", unix.EINVAL, start, end)
	}
	return nil
}

// probe finds out what the kernel offers, by a scan of nothing.
func (p *Pagemap) probe() (scanMode, error) {
	for _, mode := range []scanMode{scanGuards, scanPlain} {
		arg := scanArg{}
		Populated.query(mode).fill(&arg)
		_, err := ioctlScan(p.fd, &arg, nil)
		switch {
		case err == nil:
			return mode, nil
		case errors.Is(err, unix.EINVAL): // a category that it does not know
		case errors.Is(err, unix.ENOTTY):
			return readOnly, nil
		default:
			return 0, err
		}
	}
	return readOnly, nil
}

// add appends a range, joined with the last one of buf[first:] if they touch. Pages
// that are already in it, which a resumed scan may report again, are dropped.
func add(buf []Range, first int, r Range) []Range {
	if n := len(buf); n > first && r.Start <= buf[n-1].End {
		buf[n-1].End = max(buf[n-1].End, r.End)
		return buf
	}
	return append(buf, r)
}

// subtract removes the ranges of b from those of a; both ascend.
func subtract(a, b []Range) []Range {
	var out []Range
	for _, r := range a {
		for len(b) > 0 && b[0].End <= r.Start {
			b = b[1:]
		}
		for i := 0; i < len(b) && b[i].Start < r.End; i++ {
			if r.Start < b[i].Start {
				out = append(out, Range{r.Start, b[i].Start})
			}
			r.Start = min(b[i].End, r.End)
		}
		if r.Start < r.End {
			out = append(out, r)
		}
	}
	return out
}
