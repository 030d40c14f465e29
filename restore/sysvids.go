package restore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// The id of a System V IPC object is a slot and a sequence number. The kernel gives out
// the free slots in ascending order, going around, and the sequence number goes up by one
// with each round. Who may (a privileged user, or anybody in a namespace of his own) names
// the wanted id in a file of /proc; others make and remove objects until it comes. A whole
// round of sequence numbers is some millions of objects, of 1 to 5 microseconds each.
//
// As the wanted object has to be right from its birth, its id must be known one step
// before: in each round the slots are seen in the same order, so the one before the wanted
// slot tells. If somebody else makes an object in between, the guess is wrong, and the
// object that was made in vain is removed.

// ipcKind is a kind of objects.
type ipcKind struct {
	name string
	next string // file that takes the wanted id
	list func() ([]ipcState, error)
	// make makes the smallest object there is.
	make   func() (int, error)
	remove func(id int) error
	// filler makes an object that keeps a slot until the returned function is called,
	// and goes away if this process dies. nil: there is no such thing.
	filler func() (id int, end func(), err error)
}

// How long ids are tried to be reached. That of a segment that is marked for removal
// matters to few programs, and a guess may be wrong.
const (
	ipcPatience      = time.Minute
	ipcPatienceShort = 20 * time.Second
)

// seqShift returns how many bits of an id are the slot.
var seqShift = sync.OnceValue(func() int {
	const short, extended = 15, 24 // IPCMNI_SHIFT, IPCMNI_EXTEND_SHIFT
	if text, err := os.ReadFile("/proc/cmdline"); err == nil && slices.Contains(strings.Fields(string(text)), "ipcmni_extend") {
		return extended
	}
	return short
})

func slotOf(id int) int     { return id & (1<<seqShift() - 1) }
func sequenceOf(id int) int { return id >> seqShift() }

// makeIPC makes objects of one kind with their ids.
func (b *broker) makeIPC(kind *ipcKind, objects []*ipcObject) error {
	slices.SortFunc(objects, func(x, y *ipcObject) int { return x.image.ID - y.image.ID })
	if nextIDIsOpen(kind) {
		return makeNamed(kind, objects)
	}
	began := time.Now()
	f := &fishing{kind: kind, before: map[int]int{}, last: -1}
	for _, o := range objects {
		if o.anyID {
			f.missed = append(f.missed, o)
		} else {
			f.wanted = append(f.wanted, o)
		}
	}
	err := f.run(b.ctx)
	b.log.Debug("ids of IPC objects", "kind", kind.name, "made", f.count, "took", time.Since(began), "missed", len(f.missed))
	if err != nil {
		return err
	}
	for _, o := range f.missed {
		switch {
		case o.image.Guessed:
			o.left = true
			b.warn("%s may belong to the program; it was not made, because its id could not be reached", o)
			continue
		case !o.removed:
			return fmt.Errorf("%s: its id could not be reached: it was taken by another object, or did not come in %v (use --pids=namespace)", o, ipcPatience)
		}
		if err := o.create(); err != nil {
			return err
		}
		b.warn("%s, which is marked for removal, has id %d now", o, o.id)
	}
	return nil
}

// create makes the object, with whatever id comes.
func (o *ipcObject) create() error {
	id, err := o.make(o.image.Key)
	if o.removed && errors.Is(err, unix.EEXIST) {
		id, err = o.make(unix.IPC_PRIVATE) // its key is free since it was marked
	}
	if err != nil {
		return fmt.Errorf("make %s: %w%s", o, err, ipcHint(err))
	}
	o.id, o.made = id, true
	return nil
}

// ipcHint says what stands behind an error of making an object.
func ipcHint(err error) string {
	switch {
	case errors.Is(err, unix.ENOSPC):
		return " (the system's limits of IPC objects are reached: see ipcs -l)"
	case errors.Is(err, unix.ENOMEM):
		return " (no memory for it)"
	case errors.Is(err, unix.EINVAL):
		return " (it is larger than kernel.shmmax, or the other limits that ipcs -l shows, allow here)"
	}
	return ""
}

// nextIDIsOpen tells whether this process may choose ids. The kernel decides when the file
// is opened.
func nextIDIsOpen(kind *ipcKind) bool {
	f, err := os.OpenFile(kind.next, os.O_WRONLY, 0)
	return err == nil && f.Close() == nil
}

// makeNamed makes objects whose ids the kernel takes from a file.
func makeNamed(kind *ipcKind, objects []*ipcObject) error {
	const attempts = 100 // another process may take the id that was named
	for _, o := range objects {
		for range attempts {
			if err := os.WriteFile(kind.next, []byte(strconv.Itoa(o.image.ID)), 0); err != nil {
				return err
			}
			if err := o.create(); err != nil {
				return err
			}
			if o.id == o.image.ID {
				break
			}
			if err := kind.remove(o.id); err != nil {
				return err
			}
			o.made = false
		}
		if !o.made {
			return fmt.Errorf("%s: the kernel does not give out its id", o)
		}
	}
	return nil
}

// fishing makes and removes objects until all wanted ids have come.
type fishing struct {
	kind   *ipcKind
	wanted []*ipcObject
	before map[int]int // the slot that was given out before a slot
	last   int         // the last id
	kept   map[int]bool
	missed []*ipcObject // what was not reached
	count  int
}

// run fishes until its patience ends.
func (f *fishing) run(ctx context.Context) error {
	const often, seldom = 1 << 10, 1 << 18
	f.kept = map[int]bool{}
	if len(f.wanted) == 0 {
		return nil
	}
	end, err := f.fill()
	defer end()
	if err != nil {
		return err
	}
	began := time.Now()
	for ; len(f.wanted) > 0; f.count++ {
		if f.count%often == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			f.giveUp(time.Since(began))
		}
		if f.count%seldom == seldom-1 {
			if err := f.lookAgain(); err != nil {
				return err
			}
			continue
		}
		if err := f.step(); err != nil {
			return err
		}
	}
	return nil
}

// giveUp ends the search when it has taken too long for what is still missing.
func (f *fishing) giveUp(took time.Duration) {
	patience := ipcPatienceShort
	if slices.ContainsFunc(f.wanted, func(o *ipcObject) bool { return !o.removed && !o.image.Guessed }) {
		patience = ipcPatience
	}
	if took > patience {
		f.wanted, f.missed = nil, append(f.missed, f.wanted...)
	}
}

// lookAgain takes wanted objects that have come into being meanwhile: another restore of
// this user may have taken them for those of its program. It gives up those whose place
// has been taken.
func (f *fishing) lookAgain() error {
	table, err := f.kind.list()
	if err != nil {
		return err
	}
	f.wanted = slices.DeleteFunc(f.wanted, func(o *ipcObject) bool {
		i := slices.IndexFunc(table, func(s ipcState) bool { return slotOf(s.ID) == slotOf(o.image.ID) })
		switch {
		case i < 0:
			return false
		case table[i].ID == o.image.ID && o.is(&table[i]):
			o.id, o.found = o.image.ID, true
		default:
			f.missed = append(f.missed, o)
		}
		return true
	})
	return nil
}

// step makes one object: a wanted one if its id is the next, else one to be removed.
func (f *fishing) step() error {
	i := slices.IndexFunc(f.wanted, f.isNext)
	if i >= 0 {
		o := f.wanted[i]
		if err := o.create(); err != nil {
			return err
		}
		f.note(o.id)
		if o.id == o.image.ID {
			f.wanted = slices.Delete(f.wanted, i, i+1)
			f.kept[slotOf(o.id)] = true
			return nil
		}
		o.made = false
		return f.kind.remove(o.id)
	}
	id, err := f.kind.make()
	if err != nil {
		return fmt.Errorf("make a %s: %w%s", f.kind.name, err, ipcHint(err))
	}
	f.note(id)
	return f.kind.remove(id)
}

// note remembers the order of the slots.
func (f *fishing) note(id int) {
	if f.last >= 0 {
		f.before[slotOf(id)] = slotOf(f.last)
	}
	f.last = id
}

// isNext tells whether the id of an object is the next one.
func (f *fishing) isNext(o *ipcObject) bool {
	if f.last < 0 {
		return false
	}
	slot, sequence := slotOf(o.image.ID), sequenceOf(f.last)
	if slot <= slotOf(f.last) {
		sequence = (sequence + 1) & (1<<(31-seqShift()) - 1)
	}
	if sequence != sequenceOf(o.image.ID) {
		return false
	}
	at, ok := f.before[slot]
	for ok && at != slotOf(f.last) && f.kept[at] { // is given out no more
		at, ok = f.before[at]
	}
	return ok && at == slotOf(f.last)
}

// fill keeps slots of no interest. The kernel goes around in 64 slots, or in half as many
// again as there are objects: keeping slots shortens the round, and where a wanted slot
// lies beyond its end there have to be more objects.
func (f *fishing) fill() (end func(), err error) {
	const smallest, most = 64, 42 // 42 objects still go around in 64 slots
	var ends []func()
	end = func() {
		for _, e := range ends {
			e()
		}
	}
	table, err := f.kind.list()
	if err != nil {
		return end, err
	}
	highest := slotOf(slices.MaxFunc(f.wanted, func(a, b *ipcObject) int { return slotOf(a.image.ID) - slotOf(b.image.ID) }).image.ID)
	objects := len(table)
	need := most - objects - len(f.wanted)
	if f.kind.filler == nil {
		need = 0
	}
	if highest >= smallest {
		need = max(need, (highest+1)*2/3+1-objects)
	}
	for failed := 0; need > 0 && failed < smallest+2*len(f.wanted); {
		id, done, err := f.filler()
		if err != nil {
			return end, fmt.Errorf("make a %s: %w%s", f.kind.name, err, ipcHint(err))
		}
		if slices.ContainsFunc(f.wanted, func(o *ipcObject) bool { return slotOf(o.image.ID) == slotOf(id) }) {
			failed++
			done()
			continue
		}
		ends = append(ends, done)
		need--
	}
	return end, nil
}

// filler makes an object that keeps its slot.
func (f *fishing) filler() (id int, end func(), err error) {
	if f.kind.filler != nil {
		return f.kind.filler()
	}
	id, err = f.kind.make()
	return id, func() { _ = f.kind.remove(id) }, err // somebody may have removed it
}
