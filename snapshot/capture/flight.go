package capture

import (
	"errors"
	"fmt"
	"os"

	"github.com/crtrace/crtrace/snapshot"
	"github.com/crtrace/crtrace/tracer/procfs"
	"golang.org/x/sys/unix"
)

// A message in the queue of a unix socket can carry descriptors that nobody has
// taken yet (SCM_RIGHTS). A peek at it gives us duplicates: they are views like
// those of the program's own descriptors, but in our table. So what they lead to
// is found among what the program holds, or is a description of its own, and
// an end of a pipe in flight is inside. As such a description may be a socket that
// has something in flight itself, queues are looked at one after the other, until
// nothing new comes out of them. What can't be reached in this way nobody can ever
// receive; the kernel throws it away.

// gather enters what is in flight in a socket's queue among the views. The queue of
// a program that runs is left alone, as peeking beyond its first message needs an
// offset that the program would see too; it is only noted that something is there.
func (c *collection) gather(v *view) error {
	if v.info.ScmFDs == 0 {
		return nil
	}
	if c.surveying() {
		c.flying = true
		return nil
	}
	listen, err := unix.GetsockoptInt(v.fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil || listen != 0 { // they are with connections that nobody has accepted
		return err
	}
	typ, err := unix.GetsockoptInt(v.fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return fmt.Errorf("SO_TYPE: %w", err)
	}
	queue, err := peekQueue(v.fd, typ)
	if err != nil {
		return err
	}
	v.queue, v.peeked = queue, true
	seen := 0
	for i := range queue {
		c.caught = append(c.caught, queue[i].fds...)
		seen += len(queue[i].fds)
	}
	if seen != v.info.ScmFDs { // a message without bytes shows itself once only
		v.t.refuse(v.object(), fmt.Sprintf("of %d descriptors in flight in its queue %d can be seen", v.info.ScmFDs, seen), tryAgain)
	}
	for i := range queue {
		for _, fd := range queue[i].fds {
			f, err := v.lookFlying(fd)
			if err != nil {
				return fmt.Errorf("what is in flight in its queue: %w", err)
			}
			queue[i].flying = append(queue[i].flying, f)
			c.views = append(c.views, f)
		}
	}
	return nil
}

// lookFlying describes what is in flight in the queue of a socket by a duplicate of
// ours.
func (v *view) lookFlying(fd int) (*view, error) {
	link, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return nil, err
	}
	f, err := v.t.look(os.Getpid(), procfs.FD{Num: fd, Link: link})
	if err != nil {
		return nil, err
	}
	f.fd, f.carrier = fd, v
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return nil, fmt.Errorf("F_GETFL: %w", err)
	}
	f.info.Flags |= uint64(flags) & unix.O_CLOEXEC // see closesOnExec
	return f, nil
}

// closeCaught closes the duplicates of what is in flight. As long as they are open
// nobody sees the end of a pipe whose other end flies.
func (c *collection) closeCaught() {
	for _, fd := range c.caught {
		unix.Close(fd)
	}
	c.caught = nil
}

// messages returns what lies in the queue of a socket that is stopped.
func (v *view) messages(typ int) ([]message, error) {
	if v.peeked {
		return v.queue, nil
	}
	queue, err := peekQueue(v.fd, typ)
	for i := range queue {
		if len(queue[i].fds) > 0 {
			closeFlying(queue)
			return nil, errArrived
		}
	}
	return queue, err
}

// errArrived says that there are descriptors that the kernel had not told of: somebody
// outside the tree has just sent them, or the kernel does not count them.
var errArrived = errors.New("descriptors are in flight in its queue that have just come, or that this kernel does not count (before Linux 5.11)")

// rights returns the descriptions that are in flight with a message.
func (m *message) rights() []int {
	var ids []int
	for _, f := range m.flying {
		ids = append(ids, f.id)
	}
	return ids
}

// surveyFlying refuses what is in flight and could not be put there again.
func (c *collection) surveyFlying() {
	if len(c.problems) > 0 {
		return
	}
	for _, v := range c.byID {
		for i := range v.queue {
			for _, f := range v.queue[i].flying {
				if why := c.groundedBy(f); why != "" {
					f.t.refuse(f.object(), why, tryAgain)
				}
			}
		}
	}
}

// groundedBy tells why what is in flight could not fly after a restore; empty: it
// can. What no process holds gets no number in any, so that all of it must be
// possible from outside.
func (c *collection) groundedBy(f *view) string {
	d := &c.m.Descriptions[f.id]
	switch d.Detail.(type) {
	case *snapshot.KernelFile, *snapshot.PidFD, *snapshot.Control:
		return "only a process of the tree could make it again, which is not done for what is in flight"
	}
	if c.byID[f.id].carrier == nil {
		return ""
	}
	switch x := d.Detail.(type) {
	case *snapshot.Epoll:
		if len(x.Entries) > 0 {
			return "an epoll instance is watched through the numbers of a process, and no process has it"
		}
	case *snapshot.UnixPair:
		if relativeName(x.Local) {
			return "the name of this socket is relative to the directory of a process, and no process has it"
		}
	case *snapshot.Socket:
		if relativeName(x.Local) || relativeName(x.Peer) {
			return "the name of this socket is relative to the directory of a process, and no process has it"
		}
	}
	switch {
	case len(f.info.Locks) > 0:
		return "a lock is held through it, and no process has it"
	case d.Owner != nil || d.Flags&unix.O_ASYNC != 0:
		return "it sends signals, and no process has it"
	}
	return ""
}

// relativeName tells whether the address of a unix socket is a path that depends on
// a working directory.
func relativeName(addr []byte) bool {
	const family, path = 2, 2
	return len(addr) > family && addr[0] == unix.AF_UNIX && addr[path] != 0 && addr[path] != '/'
}
