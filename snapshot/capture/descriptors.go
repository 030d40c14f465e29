package capture

import (
	"errors"
	"fmt"
	"strings"

	"github.com/crtrace/crtrace/snapshot"
	"github.com/crtrace/crtrace/tracer/procfs"
	"golang.org/x/sys/unix"
)

// view is one descriptor of a process, seen through a duplicate of it, or one that
// is in flight.
type view struct {
	t           *target
	pid         int // of the process in whose table it is: t's, or ours for what is in flight
	num         int
	id          int           // of its description
	link        string        // as in /proc/PID/fd
	info        procfs.FDInfo // its Flags are those of the description, without O_CLOEXEC
	st          unix.Stat_t
	closeOnExec bool // as fdinfo says
	// fd shares the description with the program: nothing may change its offset
	// or flags. An os.File would: its Fd method clears O_NONBLOCK. -1: another
	// view of the same description has one.
	fd      int
	carrier *view     // the socket in whose queue it is in flight; nil: a process has it
	queue   []message // of a socket in whose queue something is in flight
	peeked  bool      // queue was looked at
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
	{snapshot.KindMQueue, isMQueue, takeMQueue},
	{snapshot.KindMemory, isMemory, takeMemory},
	{snapshot.KindRegular, isRegular, takeRegular},
	{snapshot.KindDirectory, isDirectory, takeDirectory},
	{snapshot.KindPTY, isPTY, takePTY},
	{snapshot.KindControl, isControl, takeControl},
	{snapshot.KindTTY, isTTY, takeTTY},
	{snapshot.KindDevice, isDevice, takeDevice},
	{snapshot.KindPipe, isPipe, takePipe},
	{snapshot.KindUnixPair, isUnixPair, takeUnixPair},
	{snapshot.KindTCP, isTCP, takeTCP},
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
func (v *view) object() string {
	if v.carrier != nil {
		return fmt.Sprintf("what is in flight in the queue of %s (%s)", v.carrier.object(), v.link)
	}
	return fmt.Sprintf("descriptor %d (%s)", v.num, v.link)
}

// takeDescriptors collects the descriptor tables of all processes, and all
// descriptions, each once.
func (c *collection) takeDescriptors() error {
	defer func() {
		for _, v := range c.byID {
			if v.carrier == nil {
				unix.Close(v.fd)
			}
		}
	}()
	for _, t := range c.targets {
		if err := t.listDescriptors(); err != nil {
			return fmt.Errorf("process %d: %w", t.pid, err)
		}
	}
	if err := c.groupViews(); err != nil {
		return err
	}
	for id, v := range c.byID {
		d, err := v.t.takeDescription(id, v)
		if err != nil {
			return fmt.Errorf("process %d: %s: %w", v.t.pid, v.object(), err)
		}
		if d.Detail == nil {
			continue // refused
		}
		c.m.Descriptions = append(c.m.Descriptions, d)
	}
	c.surveyFlying()
	return nil
}

// takeDescription collects one description.
func (t *target) takeDescription(id int, v *view) (snapshot.Description, error) {
	d := snapshot.Description{ID: id, Flags: snapshot.Hex(v.info.Flags)}
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

// listDescriptors looks at all descriptors of a process.
func (t *target) listDescriptors() error {
	fds, err := procfs.FDs(t.pid)
	if err != nil && t.surveying() && t != t.targets[0] && gone(t.pid, err) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, fd := range fds {
		v, err := t.look(t.pid, fd)
		if t.surveying() && gone(t.pid, err) {
			continue // the program runs and has closed it
		}
		if err != nil {
			return fmt.Errorf("descriptor %d (%s): %w", fd.Num, fd.Link, err)
		}
		t.views = append(t.views, v)
	}
	return nil
}

// look describes a descriptor of a process without duplicating it.
func (t *target) look(pid int, fd procfs.FD) (*view, error) {
	v := &view{t: t, pid: pid, num: fd.Num, link: fd.Link, fd: -1}
	var err error
	if v.info, err = procfs.ReadFDInfo(pid, fd.Num); err != nil {
		return nil, err
	}
	v.closeOnExec = v.info.Flags&unix.O_CLOEXEC != 0
	v.info.Flags &^= unix.O_CLOEXEC
	return v, unix.Stat(fmt.Sprintf("/proc/%d/fd/%d", pid, fd.Num), &v.st)
}

// duplicate gives the view a descriptor of ours for its description. What is in
// flight has one.
func (v *view) duplicate() error {
	if v.carrier != nil {
		return nil
	}
	pidfd, err := unix.PidfdOpen(v.pid, 0)
	if err != nil {
		return fmt.Errorf("pidfd_open: %w", err)
	}
	defer unix.Close(pidfd)
	if v.fd, err = unix.PidfdGetfd(pidfd, v.num, 0); err != nil {
		return fmt.Errorf("pidfd_getfd: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(v.fd, &st); err != nil || st.Dev != v.st.Dev || st.Ino != v.st.Ino {
		unix.Close(v.fd)
		return errors.Join(err, unix.EBADF) // the program runs, and the number means something else now
	}
	return nil
}

// closesOnExec tells whether a descriptor is closed by execve. Some ways to open a
// file (TIOCGPTPEER) leave O_CLOEXEC among the flags of the description; then
// fdinfo shows it for all descriptors, and only the process itself can tell.
func (v *view) closesOnExec(description *view) (bool, error) {
	if !v.closeOnExec || v.t.surveying() {
		return v.closeOnExec, nil
	}
	flags, err := unix.FcntlInt(uintptr(description.fd), unix.F_GETFL, 0)
	if err != nil || flags&unix.O_CLOEXEC == 0 {
		return true, err
	}
	description.info.Flags |= unix.O_CLOEXEC
	got, err := v.t.call(unix.SYS_FCNTL, uint64(v.num), unix.F_GETFD)
	if err != nil {
		return false, fmt.Errorf("F_GETFD: %w", err)
	}
	return got&unix.FD_CLOEXEC != 0, nil
}

// groupViews finds out which descriptors share a description and fills the
// descriptor tables. What is in flight comes to its end and is grouped there.
func (c *collection) groupViews() error {
	type key struct {
		dev, ino uint64
		flags    uint64
		pos      int64
		link     string
	}
	byKey := map[key][]int{} // ids of descriptions that look alike
	for i := 0; i < len(c.views); i++ {
		v := c.views[i]
		k := key{v.st.Dev, v.st.Ino, v.info.Flags &^ unix.O_CLOEXEC, v.info.Pos, v.link}
		id, err := c.sameView(v, byKey[k])
		if err == nil && id < 0 {
			if err = v.duplicate(); err == nil {
				id = len(c.byID)
				c.byID = append(c.byID, v)
				byKey[k] = append(byKey[k], id)
				err = c.gather(v)
			}
		}
		if c.surveying() && (errors.Is(err, unix.EBADF) || errors.Is(err, unix.ESRCH)) {
			continue // the program runs and has closed it, or has ended
		}
		if err != nil {
			return fmt.Errorf("process %d: %s: %w", v.t.pid, v.object(), err)
		}
		v.id = id
		if v.carrier != nil {
			continue
		}
		if err := v.enter(c.byID[id]); err != nil {
			return fmt.Errorf("process %d: %s: %w", v.t.pid, v.object(), err)
		}
	}
	return nil
}

// enter enters a descriptor into the table of its process.
func (v *view) enter(description *view) error {
	v.t.idOf[v.num] = v.id
	closes, err := v.closesOnExec(description)
	if err != nil {
		return err
	}
	v.t.out.FDs = append(v.t.out.FDs, snapshot.FD{Num: v.num, Description: v.id, CloseOnExec: closes})
	return nil
}

// sameView returns which of some descriptions a descriptor leads to, -1 for none.
func (c *collection) sameView(v *view, among []int) (int, error) {
	for _, id := range among {
		o := c.byID[id]
		same, err := sameDescription(v.pid, v.num, o.pid, o.num)
		if err != nil {
			return -1, fmt.Errorf("kcmp: %w", err)
		}
		if same {
			return id, nil
		}
	}
	return -1, nil
}

// sameDescription tells whether descriptors of two processes share a description.
func sameDescription(pidA, a, pidB, b int) (bool, error) {
	const kcmpFile = 0
	r, _, errno := unix.RawSyscall6(unix.SYS_KCMP, uintptr(pidA), uintptr(pidB), kcmpFile, uintptr(a), uintptr(b), 0)
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
