package capture

import (
	"fmt"
	"os"
	"slices"

	"github.com/crtrace/crtrace/snapshot"
	"github.com/crtrace/crtrace/tracer/procfs"
	"golang.org/x/sys/unix"
)

// System V IPC objects belong to nobody: the kernel does not tell which processes know
// the id of a segment, a semaphore set or a message queue. An object is taken for the
// tree's own when
//
//   - a process of the tree has it attached, was the last one to use it, or waits in a
//     call on it, or
//   - nobody who lives outside the tree used it last, it is of the same user, and it was
//     made since the root process began. This is a guess, and the image says so: such an
//     object is made again where it is gone, but one that exists is left alone unless a
//     process of the image was seen to use it.
//
// The guess catches objects that nobody has used yet and those whose last user has ended,
// which the program would miss. Where it is wrong it costs an empty object too many; it
// never changes one of another program. An object of the tree that somebody outside used
// last, or has attached, is refused: its other half would not come back.

// ipcCall is a kind of object and an id, of a call that a thread waits in.
type ipcCall struct {
	kind string
	id   int
}

// Kinds of objects in messages.
const (
	kindSegment = "shared memory segment"
	kindSet     = "semaphore set"
	kindQueue   = "message queue"
)

// takeIPC collects all System V IPC objects of the tree; a survey only looks for what
// can't be restored.
func (c *collection) takeIPC() error {
	for _, step := range []func() error{c.takeSegments, c.takeSemaphoreSets, c.takeMessageQueues} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// ownsIPC tells whether an object belongs to the tree, and fills in what the image has of
// it. Objects in the way are refused.
func (c *collection) ownsIPC(kind string, o *procfs.IPC, mine bool, uses []procfs.Use) (*snapshot.IPC, bool) {
	outsider := 0
	for _, u := range uses {
		switch {
		case c.isMember(u.PID):
			mine = mine || u.Possible() // else an earlier process had this id
		case u.Lives():
			outsider = u.PID
		}
	}
	out := &snapshot.IPC{
		ID: o.ID, Key: o.Key, Mode: snapshot.Hex(o.Mode & 0o777), UID: o.UID, GID: o.GID, CUID: o.CUID, CGID: o.CGID, Guessed: !mine,
	}
	uid := os.Geteuid()
	own := o.UID == uid && o.CUID == uid
	if !mine {
		return out, own && outsider == 0 && o.CTime+procfs.UseSlack >= c.began()
	}
	root := c.targets[0]
	object := fmt.Sprintf("%s %d", kind, o.ID)
	switch {
	case !own:
		root.refuse(object, fmt.Sprintf("it is of user %d, made by user %d", o.UID, o.CUID), "")
	case outsider != 0:
		root.refuse(object, fmt.Sprintf("process %d, which is not part of the program, uses it too", outsider), "end that process before the checkpoint")
	}
	return out, true
}

// isMember tells whether a process is one of the tree. Who restores a tree makes its
// objects, so this process counts too.
func (c *collection) isMember(pid int) bool {
	return pid == os.Getpid() ||
		slices.ContainsFunc(c.targets, func(t *target) bool { return t.pid == pid }) ||
		slices.ContainsFunc(c.m.Zombies, func(z snapshot.Zombie) bool { return z.PID == pid })
}

// began returns when the root process began, in seconds since the epoch.
func (c *collection) began() int64 { return procfs.Began(c.targets[0].stat) }

// waitsFor tells whether a stopped thread of the tree waits in a call on an object.
func (c *collection) waitsFor(kind string, id int) bool {
	for _, t := range c.targets {
		for i := range t.out.Threads {
			th := &t.out.Threads[i]
			if th.Call != nil && callOn(th, t.out.Compat) == (ipcCall{kind, id}) {
				return true
			}
		}
	}
	return false
}

// callOn returns the object that a thread's call is about.
func callOn(th *snapshot.Thread, compat bool) ipcCall {
	if !compat {
		switch th.Call.Number {
		case unix.SYS_SEMOP, unix.SYS_SEMTIMEDOP:
			return ipcCall{kindSet, int(int32(th.Regs.Rdi))}
		case unix.SYS_MSGRCV, unix.SYS_MSGSND:
			return ipcCall{kindQueue, int(int32(th.Regs.Rdi))}
		}
		return ipcCall{}
	}
	const ipc, semtimedop64, msgsnd, msgrcv = 117, 420, 400, 401
	switch th.Call.Number {
	case semtimedop64:
		return ipcCall{kindSet, int(int32(th.Regs.Rbx))}
	case msgsnd, msgrcv:
		return ipcCall{kindQueue, int(int32(th.Regs.Rbx))}
	case ipc:
		return ipcCall{ipcKinds[th.Regs.Rbx&0xffff], int(int32(th.Regs.Rcx))}
	}
	return ipcCall{}
}

// ipcKinds are the kinds of objects by the first argument of ipc(2), for calls that wait.
var ipcKinds = map[uint64]string{1: kindSet, 4: kindSet, 11: kindQueue, 12: kindQueue}
