package procfs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// IPC is what the tables of System V IPC objects show of every kind. Process ids
// are those of the reader's pid namespace, 0 for processes that it can't see.
type IPC struct {
	Key        int // 0: IPC_PRIVATE, or marked for removal; negative where the top bit is set
	ID         int
	Mode       uint32 // permissions, and flags such as SHM_DEST
	UID, GID   int    // owner
	CUID, CGID int    // creator
	CTime      int64  // seconds: made, or permissions changed
}

// Segment is one line of /proc/sysvipc/shm.
type Segment struct {
	IPC
	Size     uint64 // bytes
	CPID     int    // who made it
	LPID     int    // who attached or detached it last
	Attached int    // memory areas of all processes
	ATime    int64  // seconds
	DTime    int64
}

// SemaphoreSet is one line of /proc/sysvipc/sem.
type SemaphoreSet struct {
	IPC
	Count int   // semaphores
	OTime int64 // last semop(2), seconds; 0: never
}

// MessageQueue is one line of /proc/sysvipc/msg.
type MessageQueue struct {
	IPC
	Bytes, Messages int
	SPID, RPID      int // last sender and receiver
	STime, RTime    int64
}

// Segments lists the System V shared memory of the reader's IPC namespace.
func Segments() ([]Segment, error) { return readIPC("/proc/sysvipc/shm", parseSegments) }

// SemaphoreSets lists the semaphore sets.
func SemaphoreSets() ([]SemaphoreSet, error) { return readIPC("/proc/sysvipc/sem", parseSemaphoreSets) }

// MessageQueues lists the message queues.
func MessageQueues() ([]MessageQueue, error) { return readIPC("/proc/sysvipc/msg", parseMessageQueues) }

// readIPC reads a table. A kernel without System V IPC has none, and no objects.
func readIPC[T any](path string, parse func([]byte) ([]T, error)) ([]T, error) {
	out, err := read(path, parse)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return out, err
}

func parseSegments(data []byte) ([]Segment, error) {
	return parseIPC(data, func(s *Segment) (*IPC, columns) {
		return &s.IPC, columns{
			"shmid": set(&s.ID), "size": set(&s.Size), "cpid": set(&s.CPID), "lpid": set(&s.LPID), "nattch": set(&s.Attached),
			"atime": set(&s.ATime), "dtime": set(&s.DTime),
		}
	})
}

func parseSemaphoreSets(data []byte) ([]SemaphoreSet, error) {
	return parseIPC(data, func(s *SemaphoreSet) (*IPC, columns) {
		return &s.IPC, columns{"semid": set(&s.ID), "nsems": set(&s.Count), "otime": set(&s.OTime)}
	})
}

func parseMessageQueues(data []byte) ([]MessageQueue, error) {
	return parseIPC(data, func(q *MessageQueue) (*IPC, columns) {
		return &q.IPC, columns{
			"msqid": set(&q.ID), "cbytes": set(&q.Bytes), "qnum": set(&q.Messages), "lspid": set(&q.SPID), "lrpid": set(&q.RPID),
			"stime": set(&q.STime), "rtime": set(&q.RTime),
		}
	})
}

// columns are setters by the name in the head of a table.
type columns map[string]func(int64)

// set returns a setter of a number.
func set[T int | int64 | uint32 | uint64](to *T) func(int64) { return func(v int64) { *to = T(v) } }

// parseIPC reads a table: a line of names, then a line of numbers for each object,
// all of them decimal but the octal "perms". Columns that nobody asks for are skipped.
func parseIPC[T any](data []byte, fields func(*T) (*IPC, columns)) ([]T, error) {
	head, data := cutLine(data)
	var names []string
	for {
		var word []byte
		if word, head = cutField(head); len(word) == 0 {
			break
		}
		names = append(names, string(word))
	}
	var out []T
	for n := 2; len(data) > 0; n++ {
		var line []byte
		line, data = cutLine(data)
		var row T
		common, own := fields(&row)
		own["key"], own["uid"], own["gid"], own["cuid"], own["cgid"] = set(&common.Key), set(&common.UID), set(&common.GID), set(&common.CUID), set(&common.CGID)
		own["perms"], own["ctime"] = set(&common.Mode), set(&common.CTime)
		if reason := parseRow(line, names, own); reason != "" {
			return nil, badLine(n, line, reason)
		}
		out = append(out, row)
	}
	return out, nil
}

// parseRow reads one line of a table and returns what is wrong with it, or nothing.
func parseRow(line []byte, names []string, own columns) string {
	for _, name := range names {
		var word []byte
		word, line = cutField(line)
		number := signed
		if name == "perms" {
			number = octalSigned
		}
		v, ok := number(word)
		if !ok {
			return "bad " + name
		}
		if set := own[name]; set != nil {
			set(v)
			delete(own, name)
		}
	}
	if len(own) > 0 {
		return "columns are missing"
	}
	if len(bytes.TrimSpace(line)) > 0 {
		return "more columns than names"
	}
	return ""
}

// octalSigned is octal for the table's setters.
func octalSigned(s []byte) (int64, bool) {
	n, ok := octal(s)
	return int64(n), ok && n <= math.MaxInt64
}

// Use is a sign that a process used an object.
type Use struct {
	PID  int   // 0: there was no use, or by a process that can't be seen
	When int64 // seconds since the epoch
}

// Lives tells whether the process still lives. One that has begun later only has the
// same id.
func (u Use) Lives() bool {
	s, ok := u.user()
	return ok && s.State != 'Z'
}

// Possible tells whether it was the process that has the id now, alive or a zombie.
func (u Use) Possible() bool {
	_, ok := u.user()
	return ok
}

// UseSlack is by how many seconds the time of a use can seem to be before the start of
// the process: the kernel counts seconds by its ticks.
const UseSlack = 1

func (u Use) user() (Stat, bool) {
	if u.PID == 0 {
		return Stat{}, false
	}
	s, err := ReadStat(u.PID)
	return s, err == nil && Began(s) <= u.When+UseSlack
}

// IsSegment tells whether an area is an attachment of a segment. Segments, memfds and
// shared anonymous mappings lie in one file system; the inode of a segment is its id.
func (m *Mapping) IsSegment() bool {
	return m.Deleted && m.Shared && strings.HasPrefix(m.Path, "/SYSV") && len(m.Path) == len("/SYSV00000000")
}

// AttachedHere finds an attachment of a segment in this process.
func AttachedHere(id int) (*Mapping, error) {
	maps, err := ReadSmaps(os.Getpid())
	if err != nil {
		return nil, err
	}
	for i := range maps {
		if m := &maps[i]; m.IsSegment() && m.Ino == uint64(id) {
			return m, nil
		}
	}
	return nil, fmt.Errorf("shared memory segment %d is not attached", id)
}

// Uses returns who made a segment, and who attached or detached it last.
func (s *Segment) Uses() []Use { return []Use{{s.CPID, s.CTime}, {s.LPID, max(s.ATime, s.DTime)}} }

// Uses returns who changed the semaphores of a set last, who are told by another call
// (GETPID). The kernel keeps no time of each: the last that it knows is taken for all.
func (s *SemaphoreSet) Uses(pids []int) []Use {
	var uses []Use
	for _, pid := range pids {
		uses = append(uses, Use{pid, max(s.OTime, s.CTime)})
	}
	return uses
}

// Uses returns the last sender and receiver.
func (q *MessageQueue) Uses() []Use { return []Use{{q.SPID, q.STime}, {q.RPID, q.RTime}} }

// Began returns when a process began, in seconds since the epoch.
func Began(s Stat) int64 {
	const hertz = 100 // USER_HZ
	var boot unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) != nil {
		return 0
	}
	age := time.Duration(boot.Nano()) - time.Duration(s.StartTime)*time.Second/hertz
	return time.Now().Add(-age).Unix()
}
