package capture

import (
	"fmt"

	"github.com/crtrace/crtrace/snapshot"
	"github.com/crtrace/crtrace/tracer/procfs"
)

// lockKinds translates the classes of /proc/locks.
var lockKinds = map[string]string{"FLOCK": "flock", "POSIX": "posix", "OFDLCK": "ofd", "LEASE": "lease"}

// readLocks begins to read the locks of all processes and returns a function that
// waits for them. The kernel takes up to 15 ms for that, whatever their number: it
// waits for a grace period (percpu_down_write in locks_start, seen with 6.18), and
// the program stands still meanwhile.
func readLocks() func() ([]procfs.Lock, error) {
	var locks []procfs.Lock
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		locks, err = procfs.ReadLocks()
	}()
	return func() ([]procfs.Lock, error) {
		<-done
		return locks, err
	}
}

// takeLocks collects the file locks of the process. Those of open descriptors
// are in fdinfo; a flock whose descriptor was closed lives on in a mapping of
// the file and is only in /proc/locks.
func (t *target) takeLocks() error {
	type lockKey struct {
		kind       string
		dev, ino   uint64
		start, end int64
		desc       int
	}
	seen := map[lockKey]bool{}
	add := func(l procfs.Lock, fd, desc, file int) {
		kind, ok := lockKinds[l.Class]
		if !ok || l.Blocked {
			return
		}
		owner := desc
		if kind == "posix" {
			owner = -1 // belongs to the process: every descriptor of the file shows it
		}
		key := lockKey{kind, l.Dev, l.Ino, l.Start, l.End, owner}
		if seen[key] {
			return
		}
		seen[key] = true
		typ := "read"
		if l.Type == "WRITE" {
			typ = "write"
		}
		t.out.Locks = append(t.out.Locks, snapshot.Lock{
			Kind: kind, Description: desc, File: file, FD: fd, Type: typ, Start: l.Start, End: l.End,
		})
	}
	held := map[fileKey]bool{} // inodes with a flock that a descriptor shows
	for _, fd := range t.out.FDs {
		info, err := procfs.ReadFDInfo(t.pid, fd.Num)
		if err != nil {
			return fmt.Errorf("descriptor %d: %w", fd.Num, err)
		}
		for _, l := range info.Locks {
			add(l, fd.Num, fd.Description, -1)
			if l.Class == "FLOCK" {
				held[fileKey{l.Dev, l.Ino}] = true
			}
		}
	}
	all, err := t.allLocks()
	if err != nil {
		return fmt.Errorf("locks: %w", err)
	}
	for _, l := range all {
		key := fileKey{l.Dev, l.Ino}
		if l.Class != "FLOCK" || l.PID != t.pid || held[key] {
			continue
		}
		if file, ok := t.files[key]; ok {
			add(l, -1, -1, file)
		} else if shared, ok := t.shared[key]; ok {
			t.warn("process %d: a lock on %s, held only through a mapping, does not come back", t.pid, t.m.Shared[shared].Name)
		}
	}
	return nil
}
