package restore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/crtrace/crtrace/snapshot"
	"golang.org/x/sys/unix"
)

// broker opens, in this process, everything that the restored processes will
// have open. They inherit it from the seed under transfer numbers, which no
// process uses itself, and move it to its final place.
type broker struct {
	ctx  context.Context // of the restore, for what has to wait
	log  *slog.Logger
	im   *snapshot.Image
	plan *Plan
	m    *snapshot.Manifest

	// System V IPC objects: segments by Shared id, the others as in the manifest.
	segments     map[int]*ipcObject
	sets, queues []*ipcObject
	mqueues      map[int]int // POSIX queues by description
	succeeded    bool        // the program runs: what was made stays

	files       map[fileUse]int // descriptors of mapped files
	shared      []int           // of shared memory, by id
	descs       []int           // of descriptions by id, -1: made in the process
	stores      map[string]*snapshot.StoreReader
	pipes       map[uint64]*pipe // by inode
	pairs       map[uint64]int   // sockets of UnixPair by inode
	unfilled    []pair           // what openUnixPair has made
	connections map[int]int      // TCP sockets that the other end has made, by description
	exe         map[int]string   // by File id: what is executed
	terminals   []*terminal      // as Manifest.Terminals
	warnings    []string
	created     []string // files that were gone
	stdio       [3]int
	post        [2]int // see openPost
	opened      []int
	transfer    map[int]int // broker's descriptor -> number in the seed
}

// fileUse is a way of mapping a file.
type fileUse struct {
	file  int
	write bool
}

func newBroker(im *snapshot.Image, p *Plan) *broker {
	b := &broker{
		im: im, plan: p, m: im.Manifest,
		files: map[fileUse]int{}, stores: map[string]*snapshot.StoreReader{},
		pipes: map[uint64]*pipe{}, pairs: map[uint64]int{}, connections: map[int]int{}, mqueues: map[int]int{}, exe: map[int]string{}, transfer: map[int]int{},
	}
	for i, f := range p.o.Stdio {
		b.stdio[i] = i
		if f != nil {
			b.stdio[i] = int(f.Fd())
		}
	}
	return b
}

// keep notes a descriptor that is closed at the end and returns it.
func (b *broker) keep(fd int) int {
	b.opened = append(b.opened, fd)
	return fd
}

// warn notes that something is not as it was.
func (b *broker) warn(format string, args ...any) {
	b.warnings = append(b.warnings, fmt.Sprintf(format, args...))
}

// open opens everything.
func (b *broker) open(ctx context.Context) error {
	b.ctx = ctx
	for _, step := range []func() error{b.openStores, b.openIPC, b.openShared, b.openFiles, b.openExes, b.openTerminals, b.openDescriptions, b.fillPairs, b.openPost} {
		if err := step(); err != nil {
			return err
		}
	}
	return b.assign()
}

// close closes everything that is still open.
func (b *broker) close() error {
	var errs []error
	for _, fd := range b.opened {
		errs = append(errs, unix.Close(fd))
	}
	b.opened = nil
	for _, s := range b.stores {
		errs = append(errs, s.Close())
	}
	b.stores = nil
	if !b.succeeded {
		errs = append(errs, b.removeIPC())
	}
	return errors.Join(errs...)
}

// openStores opens the page stores and verifies their checksums.
func (b *broker) openStores() error {
	var err error
	if b.stores, err = b.im.Stores(); err != nil {
		return err
	}
	for _, s := range b.m.Stores {
		r := b.stores[s.Name]
		for _, rec := range r.Records() {
			if err := r.VerifyRecord(rec); err != nil {
				return err
			}
		}
	}
	return nil
}

// openFiles opens the files that the processes map.
func (b *broker) openFiles() error {
	for i := range b.m.Processes {
		for _, v := range b.m.Processes[i].VMAs {
			if v.Kind != snapshot.VMAFile {
				continue
			}
			use := fileUse{v.Object, v.Write}
			if _, ok := b.files[use]; ok {
				continue
			}
			flags := unix.O_RDONLY
			if v.Write {
				flags = unix.O_RDWR
			}
			fd, err := b.openSource(v.Object, flags)
			if err != nil {
				return err
			}
			b.files[use] = fd
		}
	}
	return nil
}

// openSource opens a file of the image wherever the plan says it is.
func (b *broker) openSource(id, flags int) (int, error) {
	src := b.plan.sources[id]
	switch {
	case src.path != "" && flags&unix.O_ACCMODE != unix.O_RDONLY:
		return b.openNamed(id, flags|unix.O_CLOEXEC|unix.O_NOCTTY)
	case src.path != "":
		fd, err := unix.Open(src.path, flags|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
		if err != nil {
			return -1, fmt.Errorf("open %s: %w", src.path, err)
		}
		return b.keep(fd), nil
	}
	f, err := b.im.SavedFile(src.saved)
	if err != nil {
		return -1, err
	}
	defer f.Close()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return -1, fmt.Errorf("copy of %s: %w", b.m.Files[id].Path, err)
	}
	return b.keep(fd), nil
}

// openExes finds out what each process executes. A copy from the image goes
// through a memfd, because files of an image are not executable.
func (b *broker) openExes() error {
	for i := range b.m.Processes {
		id := b.m.Processes[i].Exe
		if _, ok := b.exe[id]; ok {
			continue
		}
		if path := b.plan.sources[id].path; path != "" {
			b.exe[id] = path
			continue
		}
		if err := b.openExeCopy(id); err != nil {
			return fmt.Errorf("copy of %s: %w", b.m.Files[id].Path, err)
		}
	}
	return nil
}

func (b *broker) openExeCopy(id int) error {
	src, err := b.im.SavedFile(b.plan.sources[id].saved)
	if err != nil {
		return err
	}
	defer src.Close()
	fd, err := unix.MemfdCreate(baseName(b.m.Files[id].Path), unix.MFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("memfd_create: %w", err)
	}
	mem := os.NewFile(uintptr(fd), "memfd")
	defer mem.Close()
	if _, err := mem.ReadFrom(src); err != nil {
		return err
	}
	// A file that is open for writing can't be executed.
	ro, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	b.files[fileUse{id, false}] = b.keep(ro)
	return nil
}

// openDescriptions opens the descriptions that can be had outside the processes.
func (b *broker) openDescriptions() error {
	b.descs = make([]int, len(b.m.Descriptions))
	for i := range b.descs {
		b.descs[i] = unopened
	}
	for i := range b.m.Descriptions {
		d := &b.m.Descriptions[i]
		r, ok := restorers[d.Detail.Kind()]
		if !ok {
			return fmt.Errorf("description %d: kind %q is unknown", d.ID, d.Detail.Kind())
		}
		if r.early != nil && r.early(d) {
			if err := b.openOnce(i); err != nil {
				return err
			}
		}
	}
	for i := range b.m.Descriptions {
		if err := b.openOnce(i); err != nil {
			return err
		}
	}
	for _, p := range b.pipes { // the descriptions have ends of their own
		unix.Close(p.ends[0])
		unix.Close(p.ends[1])
	}
	return nil
}

// unopened marks a description that has not been opened yet.
const unopened = -2

// openOnce opens a description, if that has not been done.
func (b *broker) openOnce(id int) error {
	if b.descs[id] != unopened {
		return nil
	}
	d := &b.m.Descriptions[id]
	b.descs[id] = -1
	r := restorers[d.Detail.Kind()]
	if r.open == nil {
		if r.place != nil {
			b.descs[id] = b.stdio[r.place(b, d, -1)]
		}
		return nil
	}
	if r.after != nil {
		if first, ok := r.after(b, d); ok {
			if err := b.openOnce(first); err != nil {
				return err
			}
		}
	}
	fd, err := r.open(b, d)
	if err != nil {
		return fmt.Errorf("%s: %w", describe(b.m, d), err)
	}
	b.descs[id] = fd
	return nil
}

// assign chooses transfer numbers: free in every process, as low as possible.
func (b *broker) assign() error {
	used := map[int]bool{}
	for i := range b.m.Processes {
		for _, fd := range b.m.Processes[i].FDs {
			used[fd.Num] = true
		}
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	next := 3
	give := func(fd int) error {
		if _, ok := b.transfer[fd]; ok || fd < 0 {
			return nil
		}
		for used[next] {
			next++
		}
		if uint64(next) >= limit.Max {
			return fmt.Errorf("no descriptor numbers are left under the limit of %d (ulimit -Hn)", limit.Max)
		}
		b.transfer[fd] = next
		next++
		return nil
	}
	for _, fd := range b.files {
		if err := give(fd); err != nil {
			return err
		}
	}
	for _, fds := range [][]int{b.shared, b.descs, b.stdio[:], b.post[1:]} {
		for _, fd := range fds {
			if err := give(fd); err != nil {
				return err
			}
		}
	}
	for _, t := range b.terminals {
		if err := give(t.slave); err != nil {
			return err
		}
	}
	for _, s := range b.stores {
		if s.File() == nil {
			continue // holds no data
		}
		if err := give(int(s.File().Fd())); err != nil {
			return err
		}
	}
	return nil
}

// seedFiles returns the descriptor table of the seed.
func (b *broker) seedFiles() []uintptr {
	highest := 0
	for _, n := range b.transfer {
		highest = max(highest, n)
	}
	files := make([]uintptr, highest+1)
	for i := range files {
		files[i] = ^uintptr(0)
	}
	for fd, n := range b.transfer {
		files[n] = uintptr(fd)
	}
	return files
}
