package restore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/crtrace/crtrace/snapshot"
	"github.com/crtrace/crtrace/tracer/procfs"
	"golang.org/x/sys/unix"
)

// System V IPC objects outlive the processes that use them. After the death of a program
// on the same host they mostly still exist, in the state of its last moment: then they
// are taken and brought back to what they were, as files are. An object that is gone, as
// all are after a reboot and segments that were marked for removal are always, is made
// again with its key and its id.
//
// What an object holds is put into it once nothing can fail any more but the last steps.
// The processes do that themselves, because the kernel notes who used an object last, and
// the next checkpoint goes by it.

// ipcObject is an object of the image on its way back.
type ipcObject struct {
	kind  *ipcKind
	image *snapshot.IPC
	size  int // bytes, or the number of semaphores; queues have none
	// removed: it is marked for removal, and it may get another id or key if need be.
	removed bool
	make    func(key int) (int, error)
	// unchanged tells whether an object that exists holds what the image has of it.
	unchanged func(*ipcState) bool

	id    int  // here, once it is found or made
	found bool // it exists
	made  bool // by this restore, which takes it back if it fails
	anyID bool // its id can't be had
	left  bool // it, or what is in its place, may be another program's: it is not touched
}

func (o *ipcObject) String() string { return fmt.Sprintf("%s %d", o.kind.name, o.image.ID) }

// ipcState is an object that exists.
type ipcState struct {
	procfs.IPC
	size     int
	attached int
	messages int
	look     func() []procfs.Use // who used it
}

// ipcObjects lists the objects of an image.
func ipcObjects(m *snapshot.Manifest) (segments map[int]*ipcObject, sets, queues []*ipcObject) {
	segments = map[int]*ipcObject{}
	for i := range m.Shared {
		if s := &m.Shared[i]; s.SysV != nil {
			segments[i] = newSegment(s)
		}
	}
	for i := range m.Semaphores {
		sets = append(sets, newSet(&m.Semaphores[i]))
	}
	for i := range m.Queues {
		queues = append(queues, newQueue(&m.Queues[i]))
	}
	return segments, sets, queues
}

// all lists the objects of all kinds in the order of the image.
func allIPC(segments map[int]*ipcObject, lists ...[]*ipcObject) []*ipcObject {
	var out []*ipcObject
	for _, o := range segments {
		out = append(out, o)
	}
	slices.SortFunc(out, func(a, b *ipcObject) int { return a.image.ID - b.image.ID })
	return append(out, slices.Concat(lists...)...)
}

// checkIPC looks whether the objects can be had on this host. With --pids=auto a restore
// goes into a namespace of its own if not.
func (p *Plan) checkIPC() error {
	if p.o.PIDs == PIDNamespace && !p.o.Inside || !p.manifest.UsesIPC() {
		return nil
	}
	problems, err := findIPC(p.manifest, allIPC(ipcObjects(p.manifest)))
	if err != nil {
		return err
	}
	if len(problems) > 0 && p.o.PIDs == PIDAuto && !p.o.Inside && CanUseNamespaces() {
		p.o.PIDs = PIDNamespace
		return nil
	}
	for _, text := range problems {
		p.refuse("%s", text)
	}
	return nil
}

// findIPC looks for objects that exist already, and tells what is in the way of others. A
// program that was killed may still be on its way out, so it looks for a while.
func findIPC(m *snapshot.Manifest, objects []*ipcObject) (problems []string, err error) {
	const patience, step = time.Second, 10 * time.Millisecond
	tick := time.NewTicker(step)
	defer tick.Stop()
	for end := time.Now().Add(patience); ; <-tick.C {
		problems, err = lookForIPC(m, objects)
		if err != nil || len(problems) == 0 || time.Now().After(end) {
			return problems, err
		}
	}
}

func lookForIPC(m *snapshot.Manifest, objects []*ipcObject) (problems []string, err error) {
	tables := map[*ipcKind][]ipcState{}
	for _, o := range objects {
		table, ok := tables[o.kind]
		if !ok {
			if table, err = o.kind.list(); err != nil {
				return nil, fmt.Errorf("list of every %s: %w", o.kind.name, err)
			}
			tables[o.kind] = table
		}
		if why := o.find(m, table); why != "" {
			problems = append(problems, fmt.Sprintf("%s: %s", o, why))
		}
	}
	return problems, nil
}

// find looks for an object in the table of those that exist. It returns what is in the way.
func (o *ipcObject) find(m *snapshot.Manifest, table []ipcState) string {
	o.id, o.found, o.left, o.anyID = 0, false, false, false
	for i := range table {
		s := &table[i]
		switch {
		case s.ID == o.image.ID && o.is(s):
			return o.take(m, s)
		case slotOf(s.ID) == slotOf(o.image.ID) && o.removed:
			o.anyID = true
		case slotOf(s.ID) == slotOf(o.image.ID):
			if o.left = o.image.Guessed; o.left {
				return ""
			}
			return fmt.Sprintf("its place is taken by object %d of user %d (remove that by ipcrm, or use --pids=namespace)", s.ID, s.CUID)
		case s.Key == o.image.Key && s.Key != 0 && !o.removed:
			if o.left = o.image.Guessed; o.left {
				return ""
			}
			return fmt.Sprintf("its key 0x%x is taken by object %d of user %d (remove that by ipcrm, or use --pids=namespace)", uint32(s.Key), s.ID, s.CUID)
		}
	}
	return ""
}

// is tells whether an object that exists is the one of the image.
func (o *ipcObject) is(s *ipcState) bool {
	return (s.Key == o.image.Key || o.removed && s.Key == 0) && s.CUID == o.image.CUID && s.UID == os.Geteuid() && s.size == o.size
}

// take takes an object that exists, unless somebody uses it.
func (o *ipcObject) take(m *snapshot.Manifest, s *ipcState) string {
	proven, user := false, 0
	for _, u := range s.look() {
		i := slices.IndexFunc(m.Processes, func(p snapshot.Process) bool { return p.PID == u.PID })
		proven = proven || i >= 0
		switch {
		case u.PID == os.Getpid() || !u.Lives():
		case i >= 0: // whoever has this id now is another process, unless a copy of the program runs
			user, _ = findCopy(&m.Processes[i]) // what can't be read is no copy
		default:
			user = u.PID
		}
	}
	o.id, o.found = s.ID, true
	switch used := user != 0 || s.attached > 0; {
	case o.image.Guessed && (used || !proven && !o.unchanged(s)):
		o.left = true
	case s.attached > 0:
		return "it exists, and a process has it attached (end that process, or use --pids=namespace)"
	case used:
		return fmt.Sprintf("it exists, and process %d uses it (end that process, or use --pids=namespace)", user)
	}
	return ""
}

// openIPC takes or makes all objects.
func (b *broker) openIPC() error {
	b.segments, b.sets, b.queues = ipcObjects(b.m)
	objects := allIPC(b.segments, b.sets, b.queues)
	problems, err := findIPC(b.m, objects)
	if err != nil {
		return err
	}
	if len(problems) > 0 {
		return errors.New(problems[0])
	}
	wanted := map[*ipcKind][]*ipcObject{}
	for _, o := range objects {
		switch {
		case o.left && !o.found:
			b.warn("%s may belong to the program; it was not made, because another has its id or key now", o)
		case !o.found:
			wanted[o.kind] = append(wanted[o.kind], o)
		}
	}
	for kind, list := range wanted {
		if err := b.makeIPC(kind, list); err != nil {
			return err
		}
	}
	return nil
}

// fillIPC puts into semaphore sets and message queues what they held.
func (r *run) fillIPC() error {
	for i, o := range r.broker.sets {
		if o.left {
			continue
		}
		if err := r.broker.mayBeGone(o, r.fillSet(&r.m.Semaphores[i], o)); err != nil {
			return fmt.Errorf("%s: %w", o, err)
		}
	}
	for i, o := range r.broker.queues {
		if o.left {
			continue
		}
		if err := r.broker.mayBeGone(o, r.fillQueue(&r.m.Queues[i], o)); err != nil {
			return fmt.Errorf("%s: %w", o, err)
		}
	}
	return nil
}

// mayBeGone lets pass that an object is gone that was found and only may have been the
// program's.
func (b *broker) mayBeGone(o *ipcObject, err error) error {
	if o.image.Guessed && o.found && (errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EIDRM)) {
		o.left = true
		b.warn("%s may belong to the program; another program has just removed it", o)
		return nil
	}
	return err
}

// processOf returns the process that had an id in the image, the root where there is
// none any more.
func (r *run) processOf(pid int) *process {
	i := slices.IndexFunc(r.processes, func(p *process) bool { return p.image.PID == pid })
	return r.processes[max(i, 0)]
}

// Part of struct ipc64_perm, which begins what IPC_SET takes.
const permUID, permGID, permMode = 4, 8, 20

// encodePerm makes the buffer for IPC_SET, of a size in bytes.
func encodePerm(o *snapshot.IPC, mode uint32, size int) []byte {
	b := make([]byte, size)
	binary.LittleEndian.PutUint32(b[permUID:], uint32(o.UID))
	binary.LittleEndian.PutUint32(b[permGID:], uint32(o.GID))
	binary.LittleEndian.PutUint32(b[permMode:], mode)
	return b
}

// ownMode lets the owner do everything while an object is filled.
const ownMode = 0o600

// removeIPC takes back the objects that a failed restore has made.
func (b *broker) removeIPC() error {
	var errs []error
	for _, o := range allIPC(b.segments, b.sets, b.queues) {
		if o.made {
			if err := o.kind.remove(o.id); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EIDRM) {
				errs = append(errs, fmt.Errorf("remove %s: %w", o, err))
			}
		}
	}
	return errors.Join(errs...)
}
