package capture

import (
	"errors"
	"fmt"
	"strings"

	"github.com/crtrace/crtrace/snapshot"
	"github.com/crtrace/crtrace/tracer/procfs"
	"golang.org/x/sys/unix"
)

// view is one descriptor of the program, seen through a duplicate of it.
type view struct {
	num  int
	link string // as in /proc/PID/fd
	info procfs.FDInfo
	st   unix.Stat_t
	// fd shares the description with the program: nothing may change its offset
	// or flags. An os.File would: its Fd method clears O_NONBLOCK.
	fd int
}

// collector takes one kind of description.
type collector struct {
	kind snapshot.Kind
	// match tells whether a descriptor is of this kind. The first collector
	// that matches is taken.
	match func(v *view) bool
	// take collects the description. It calls refuse for what can't be
	// restored, and must leave the description as it found it. It runs during
	// the survey too, when the program is not stopped.
	take func(t *target, v *view) (snapshot.Detail, error)
}

// collectors has one line for each kind, in the order in which they are asked.
var collectors = []collector{
	{snapshot.KindPath, isPath, takePath},
	{snapshot.KindKernelFile, isKernelFile, takeKernelFile},
	{snapshot.KindMemory, isMemory, takeMemory},
	{snapshot.KindRegular, isRegular, takeRegular},
	{snapshot.KindDirectory, isDirectory, takeDirectory},
	{snapshot.KindTTY, isTTY, takeTTY},
	{snapshot.KindDevice, isDevice, takeDevice},
	{snapshot.KindPipe, isPipe, takePipe},
	{snapshot.KindUnixPair, isUnixPair, takeUnixPair},
	{snapshot.KindSocket, isSocket, takeSocket},
	{snapshot.KindEventFD, isAnon("[eventfd]"), takeEventFD},
	{snapshot.KindEpoll, isAnon("[eventpoll]"), takeEpoll},
	{snapshot.KindSignalFD, isAnon("[signalfd]"), takeSignalFD},
	{snapshot.KindTimerFD, isAnon("[timerfd]"), takeTimerFD},
	{snapshot.KindInotify, isAnon("inotify"), takeInotify},
	{snapshot.KindPidFD, isPidFD, takePidFD},
}

// isAnon matches an anonymous inode by its name.
func isAnon(name string) func(*view) bool {
	return func(v *view) bool { return v.link == "anon_inode:"+name }
}

// object names a descriptor in messages.
func (v *view) object() string { return fmt.Sprintf("descriptor %d (%s)", v.num, v.link) }

// takeDescriptors collects the descriptor table and all descriptions.
func (t *target) takeDescriptors() error {
	defer func() {
		for _, v := range t.views {
			unix.Close(v.fd)
		}
		t.views = nil
	}()
	if err := t.openViews(); err != nil {
		return err
	}
	if err := t.groupViews(); err != nil {
		return err
	}
	for id, v := range t.byID {
		d, err := t.takeDescription(id, v)
		if err != nil {
			return fmt.Errorf("%s: %w", v.object(), err)
		}
		if d.Detail == nil {
			continue // refused
		}
		t.m.Descriptions = append(t.m.Descriptions, d)
	}
	return nil
}

// takeDescription collects one description.
func (t *target) takeDescription(id int, v *view) (snapshot.Description, error) {
	d := snapshot.Description{ID: id, Flags: snapshot.Hex(v.info.Flags &^ unix.O_CLOEXEC)}
	for _, c := range collectors {
		if !c.match(v) {
			continue
		}
		detail, err := c.take(t, v)
		if err != nil || detail == nil {
			return d, err
		}
		d.Detail = detail
		d.Owner, err = getOwner(v.fd)
		return d, err
	}
	t.refuse(v.object(), "this kind of descriptor can't be restored", "close it before the checkpoint")
	return d, nil
}

// openViews duplicates all descriptors of the program.
func (t *target) openViews() error {
	fds, err := procfs.FDs(t.pid)
	if err != nil {
		return err
	}
	pidfd, err := unix.PidfdOpen(t.pid, 0)
	if err != nil {
		return fmt.Errorf("pidfd_open: %w", err)
	}
	defer unix.Close(pidfd)
	for _, fd := range fds {
		v, err := t.openView(pidfd, fd)
		if t.surveying() && (errors.Is(err, unix.EBADF) || procfs.Gone(err)) {
			continue // the program runs and has closed it
		}
		if err != nil {
			return fmt.Errorf("descriptor %d (%s): %w", fd.Num, fd.Link, err)
		}
		t.views = append(t.views, v)
	}
	return nil
}

func (t *target) openView(pidfd int, fd procfs.FD) (*view, error) {
	v := &view{num: fd.Num, link: fd.Link}
	var err error
	if v.info, err = procfs.ReadFDInfo(t.pid, fd.Num); err != nil {
		return nil, err
	}
	dup, err := unix.PidfdGetfd(pidfd, fd.Num, 0)
	if err != nil {
		return nil, fmt.Errorf("pidfd_getfd: %w", err)
	}
	v.fd = dup
	if err := unix.Fstat(dup, &v.st); err != nil {
		unix.Close(dup)
		return nil, fmt.Errorf("fstat: %w", err)
	}
	return v, nil
}

// groupViews finds out which descriptors share a description and fills the
// descriptor table.
func (t *target) groupViews() error {
	type key struct {
		dev, ino uint64
		flags    uint64
		pos      int64
		link     string
	}
	byKey := map[key][]int{} // ids of descriptions that look alike
	t.byID, t.idOf = nil, map[int]int{}
	for _, v := range t.views {
		k := key{v.st.Dev, v.st.Ino, v.info.Flags &^ unix.O_CLOEXEC, v.info.Pos, v.link}
		id := -1
		for _, other := range byKey[k] {
			same, err := sameDescription(t.pid, v.num, t.byID[other].num)
			if err != nil {
				return fmt.Errorf("kcmp: %w", err)
			}
			if same {
				id = other
				break
			}
		}
		if id < 0 {
			id = len(t.byID)
			t.byID = append(t.byID, v)
			byKey[k] = append(byKey[k], id)
		}
		t.idOf[v.num] = id
		if t.out != nil {
			t.out.FDs = append(t.out.FDs, snapshot.FD{
				Num: v.num, Description: id, CloseOnExec: v.info.Flags&unix.O_CLOEXEC != 0,
			})
		}
	}
	return nil
}

// sameDescription tells whether two descriptors of a process share a description.
func sameDescription(pid, a, b int) (bool, error) {
	const kcmpFile = 0
	r, _, errno := unix.RawSyscall6(unix.SYS_KCMP, uintptr(pid), uintptr(pid), kcmpFile, uintptr(a), uintptr(b), 0)
	if errno != 0 {
		return false, errno
	}
	return r == 0, nil
}

// accessMode returns the access mode of a description's flags.
func (v *view) accessMode() uint64 { return v.info.Flags & unix.O_ACCMODE }

// named tells whether the link is a path that still leads to the file.
func (v *view) named() (path string, ok bool) {
	path, deleted := trimDeleted(v.link)
	if deleted || !strings.HasPrefix(v.link, "/") {
		return path, false
	}
	var st unix.Stat_t
	err := unix.Lstat(path, &st)
	return path, err == nil && st.Ino == v.st.Ino && st.Dev == v.st.Dev
}
