package procfs

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

const (
	shmTable = "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime      ctime                   rss                  swap\n" +
		"         0   21856312  1600                 20380 31092 31093      4  1004  1005  1006  1007 1795581648 1795581649 1795581650                  4096                     0\n"
	semTable = "       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n" +
		"-559038737     196654   640          3  1001  1002  1003  1004          0 1795577181\n"
	msgTable = "       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      stime      rtime      ctime\n" +
		"        42          7   666         120          3    55    56     1     2     3     4         10         11         12\n"
)

func TestSysVIPC(t *testing.T) {
	equal(t, must[[]Segment](t)(parseSegments([]byte(shmTable))), []Segment{{
		IPC:  IPC{ID: 21856312, Mode: 0o1600, UID: 1004, GID: 1005, CUID: 1006, CGID: 1007, CTime: 1795581650},
		Size: 20380, CPID: 31092, LPID: 31093, Attached: 4, ATime: 1795581648, DTime: 1795581649,
	}})
	equal(t, must[[]SemaphoreSet](t)(parseSemaphoreSets([]byte(semTable))), []SemaphoreSet{{
		IPC:   IPC{Key: -559038737, ID: 196654, Mode: 0o640, UID: 1001, GID: 1002, CUID: 1003, CGID: 1004, CTime: 1795577181},
		Count: 3,
	}})
	equal(t, must[[]MessageQueue](t)(parseMessageQueues([]byte(msgTable))), []MessageQueue{{
		IPC:   IPC{Key: 42, ID: 7, Mode: 0o666, UID: 1, GID: 2, CUID: 3, CGID: 4, CTime: 12},
		Bytes: 120, Messages: 3, SPID: 55, RPID: 56, STime: 10, RTime: 11,
	}})
	refuses(t, parseSemaphoreSets, map[string]int{
		"key semid\n1 2\n":      2, // columns are missing
		semTable + "1 2\n":      3,
		semTable + "\n":         3,
		semTable + semTable[1:]: 3,
	})
}

func FuzzSysVIPC(f *testing.F) {
	fuzz(f, func(b []byte) (int, error) {
		_, err := parseSegments(b)
		_, err2 := parseSemaphoreSets(b)
		_, err3 := parseMessageQueues(b)
		for _, e := range []error{err, err2, err3} {
			if e != nil {
				return 0, e
			}
		}
		return 0, nil
	}, shmTable, semTable, msgTable)
}

// TestSysVIPCLive makes a segment and finds it.
func TestSysVIPCLive(t *testing.T) {
	id, err := unix.SysvShmGet(unix.IPC_PRIVATE, 5000, 0o600)
	if err != nil {
		t.Skipf("shmget: %v", err)
	}
	defer func() { _, _ = unix.SysvShmCtl(id, unix.IPC_RMID, nil) }()
	for _, s := range must[[]Segment](t)(Segments()) {
		if s.ID == id {
			if s.Size != 5000 || s.CPID != os.Getpid() || s.Mode != 0o600 {
				t.Errorf("it shows as %+v", s)
			}
			return
		}
	}
	t.Error("it is not listed")
}

// TestUse: a process that has begun after a use was not the one.
func TestUse(t *testing.T) {
	self := os.Getpid()
	began := Began(must[Stat](t)(ReadStat(self)))
	for _, c := range []struct {
		use  Use
		want bool
	}{{Use{self, began}, true}, {Use{self, began + 1000}, true}, {Use{self, began - 100}, false}, {Use{0, began}, false}, {Use{1 << 23, began}, false}} {
		if c.use.Lives() != c.want || c.use.Possible() != c.want {
			t.Errorf("%+v: lives %v, possible %v", c.use, c.use.Lives(), c.use.Possible())
		}
	}
}
