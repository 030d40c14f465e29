package procfs

import "bytes"

// Lock is a file lock or lease, as /proc/locks and the "lock:" lines of fdinfo
// show it.
type Lock struct {
	ID        int64  // a lock and those who wait for it have the same; changes from one reading to the next
	Class     string // "FLOCK", "POSIX", "OFDLCK", "ACCESS", "LEASE", "DELEG"
	Mode      string // "ADVISORY"; for leases "ACTIVE", "BREAKING", "BREAKER"
	Mandatory bool   // only kernels before 5.15 have such locks
	Type      string // "READ", "WRITE", "UNLCK"
	PID       int    // holder, -1 for OFDLCK; for FLOCK whoever took it first
	Dev       uint64 // as in stat(2)
	Ino       uint64 // 0 if the kernel does not tell
	Start     int64  // first byte
	End       int64  // last byte, -1: to the end of the file, however long
	Blocked   bool   // waits for the lock
}

// ReadLocks lists the locks of all processes of the reader's pid namespace.
func ReadLocks() ([]Lock, error) { return read("/proc/locks", parseLocks) }

// parseLocks reads /proc/locks.
func parseLocks(data []byte) ([]Lock, error) {
	var out []Lock
	for n := 1; len(data) > 0; n++ {
		var line []byte
		line, data = cutLine(data)
		lock, reason := parseLock(line)
		if reason != "" {
			return nil, badLine(n, line, reason)
		}
		out = append(out, lock)
	}
	return out, nil
}

// parseLock reads "ID: [->] CLASS MODE TYPE PID MAJOR:MINOR:INO START END" and
// returns what is wrong with it, or nothing.
func parseLock(line []byte) (Lock, string) {
	var l Lock
	var f [8][]byte
	id, rest := cutField(line)
	id, ok := bytes.CutSuffix(id, colon)
	if l.ID, _ = signed(id); !ok || l.ID <= 0 {
		return l, "bad lock number"
	}
	f[0], rest = cutField(rest)
	if l.Blocked = string(f[0]) == "->"; l.Blocked {
		f[0], rest = cutField(rest)
	}
	for i := 1; i < 7; i++ {
		f[i], rest = cutField(rest)
	}
	if len(f[6]) == 0 || len(trim(rest)) > 0 {
		return l, "not eight words"
	}
	l.Class, l.Mode, l.Type = word(f[0]), word(f[1]), word(f[2])
	l.Mandatory = l.Mode == "MANDATORY"
	var okPID, okStart, okEnd bool
	l.PID, okPID = integer(f[3])
	l.Start, okStart = signed(f[5])
	if l.End, okEnd = signed(f[6]); string(f[6]) == "EOF" {
		l.End, okEnd = -1, true
	} else if l.End < l.Start {
		okEnd = false
	}
	switch {
	case !capitals(f[0]) || !capitals(f[2]):
		return l, "bad kind of lock"
	case !okPID:
		return l, "bad process id"
	case !l.setFile(f[4]):
		return l, "bad device or inode number"
	case !okStart || l.Start < 0 || !okEnd:
		return l, "bad range"
	}
	return l, ""
}

// setFile reads "MAJOR:MINOR:INO", hexadecimal but for the last, or "<none>:0".
func (l *Lock) setFile(s []byte) (ok bool) {
	if string(s) == "<none>:0" {
		return true
	}
	i := bytes.LastIndexByte(s, ':')
	if i < 0 {
		return false
	}
	if l.Dev, ok = majMinor(s[:i]); !ok {
		return false
	}
	l.Ino, ok = decimal(s[i+1:])
	return ok
}

// word makes a string of a word without an allocation for the usual ones.
func word(s []byte) string {
	for _, known := range [...]string{"POSIX", "FLOCK", "OFDLCK", "LEASE", "ADVISORY", "ACTIVE", "READ", "WRITE"} {
		if string(s) == known {
			return known
		}
	}
	return string(s)
}

// capitals reports whether s is a word in capital letters.
func capitals(s []byte) bool {
	for _, c := range s {
		if c < 'A' || c > 'Z' {
			return false
		}
	}
	return len(s) > 0
}
