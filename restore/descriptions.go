package restore

import (
	"fmt"

	"github.com/crtrace/crtrace/snapshot"
	"golang.org/x/sys/unix"
)

// restorer brings one kind of description back.
type restorer struct {
	// early tells whether a description must be opened before all others, because
	// it takes a name for a moment that one of them has for itself then. nil: no.
	early func(d *snapshot.Description) bool
	// after returns a description that must be opened before this one. nil: none.
	after func(b *broker, d *snapshot.Description) (id int, ok bool)
	// open makes the description in the broker and returns its descriptor
	// there. nil: the description can only be made in the process.
	open func(b *broker, d *snapshot.Description) (int, error)
	// place says which of the broker's streams a descriptor becomes, by its number;
	// -1: one that is in flight or borrowed. It is only asked when open is nil.
	place func(b *broker, d *snapshot.Description, num int) int
	// make makes the description in the process and returns its number there.
	// It is only asked when open and place are nil.
	make func(p *process, d *snapshot.Description) (int, error)
	// finish completes the description once all descriptors of the process are
	// in place. fd is one that leads to it.
	finish func(p *process, d *snapshot.Description, fd int) error
	// start sets going what must not run before the process does.
	start func(b *broker, d *snapshot.Description, fd int) error
}

// restorers has one line for each kind.
var restorers = map[snapshot.Kind]restorer{
	snapshot.KindRegular:    {open: openRegular},
	snapshot.KindKernelFile: {make: makeKernelFile},
	snapshot.KindDirectory:  {open: openDirectory},
	snapshot.KindPath:       {open: openPath},
	snapshot.KindDevice:     {open: openDevice},
	snapshot.KindTTY:        {place: placeTTY, start: startTTY},
	snapshot.KindPTY:        {open: openPTY, start: startPTY},
	snapshot.KindControl:    {make: makeControl},
	snapshot.KindOutside:    {place: placeOutside},
	snapshot.KindPipe:       {open: openPipe},
	snapshot.KindEventFD:    {open: openEventFD},
	snapshot.KindEpoll:      {open: openEpoll, finish: finishEpoll},
	snapshot.KindSignalFD:   {open: openSignalFD},
	snapshot.KindTimerFD:    {open: openTimerFD, start: startTimerFD},
	snapshot.KindInotify:    {open: openInotify},
	snapshot.KindMQueue:     {open: openMQueue, early: isRemovedQueue},
	snapshot.KindMemory:     {open: openMemory},
	snapshot.KindPidFD:      {make: makePidFD},
	snapshot.KindUnixPair:   {open: openUnixPair, early: always},
	snapshot.KindTCP:        {open: openTCP, early: isAccepted, after: listenerFirst, start: startTCP},
	snapshot.KindSocket:     {open: openSocket, start: startSocket},
}

func always(*snapshot.Description) bool { return true }

// openFlags are the flags of a description that open(2) takes again: those of
// creation are not among them. O_TMPFILE, which the kernel goes on to show, has
// O_DIRECTORY in it.
func openFlags(d *snapshot.Description) int {
	flags := int(d.Flags)
	if flags&unix.O_TMPFILE == unix.O_TMPFILE {
		flags &^= unix.O_TMPFILE
	}
	const creation = unix.O_CREAT | unix.O_EXCL | unix.O_TRUNC
	return flags&^(creation|unix.O_ASYNC) | unix.O_CLOEXEC | unix.O_NOCTTY
}

// statusFlags are the flags that F_SETFL sets.
func statusFlags(d *snapshot.Description) int {
	return int(d.Flags) & (unix.O_APPEND | unix.O_NONBLOCK | unix.O_DIRECT | unix.O_NOATIME | unix.O_ASYNC)
}

// setStatus gives a description its flags.
func setStatus(fd int, d *snapshot.Description) error {
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFL, statusFlags(d)&^unix.O_ASYNC); err != nil {
		return fmt.Errorf("F_SETFL: %w", err)
	}
	return nil
}

// reopen opens what a descriptor of the broker leads to once more.
func reopen(fd, flags int) (int, error) {
	return unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), flags, 0)
}

// describe names a description in messages: by the first descriptor that leads
// to it.
func describe(m *snapshot.Manifest, d *snapshot.Description) string {
	for i := range m.Processes {
		for _, fd := range m.Processes[i].FDs {
			if fd.Description == d.ID {
				return fmt.Sprintf("process %d: descriptor %d (%s)", m.Processes[i].PID, fd.Num, d.Detail.Kind())
			}
		}
	}
	return fmt.Sprintf("description %d (%s)", d.ID, d.Detail.Kind())
}
