package snapshot

import (
	"strings"
	"testing"
	"time"
)

// validSample returns the sample with everything that Commit and the writers fill in.
func validSample() *Manifest {
	m := sampleManifest()
	m.Format, m.ID = Format{FormatMajor, FormatMinor}, strings.Repeat("ab", 16)
	sum := strings.Repeat("cd", 32)
	m.XState = Blob{xstateName, 300, sum}
	m.Processes[0].Threads[1].XState = Extent{100, 200}
	m.Stores = []Store{
		{Name: "mm-1", Records: 2, Map: Blob{"mm-1.map", 64, sum}, Data: Blob{"mm-1.pages", PageSize, ""}},
		{Name: "mm-2"}, {Name: "shm-1"}, {Name: "shm-2", Records: 1, Map: Blob{"shm-2.map", 32, sum}},
		{Name: "shm-3"},
	}
	return m
}

// damage is a change to a valid manifest and a part of the complaint about it.
type damage struct {
	name   string
	change func(m *Manifest, p *Process)
	want   string
}

func TestValidate(t *testing.T) {
	if err := validSample().Validate(); err != nil {
		t.Fatal(err)
	}
	for _, list := range [][]damage{damagedHead, damagedTables, damagedIPC, damagedDetails, damagedProcess, damagedMemory, damagedThreads} {
		for _, d := range list {
			m := validSample()
			d.change(m, &m.Processes[0])
			if err := m.Validate(); err == nil || !strings.Contains(err.Error(), d.want) {
				t.Errorf("%s: error %v, want %q", d.name, err, d.want)
			}
		}
	}
}

var damagedHead = []damage{
	{"version", func(m *Manifest, _ *Process) { m.Format.Major++ }, "format 2.0"},
	{"short id", func(m *Manifest, _ *Process) { m.ID = "ab" }, "32 hexadecimal"},
	{"upper-case id", func(m *Manifest, _ *Process) { m.ID = strings.Repeat("AB", 16) }, "32 hexadecimal"},
	{"time zone", func(m *Manifest, _ *Process) { m.Created = m.Created.In(time.FixedZone("X", 60)) }, "UTC"},
	{"architecture", func(m *Manifest, _ *Process) { m.Host.Arch = "vax" }, "vax"},
	{"page size", func(m *Manifest, _ *Process) { m.Host.PageSize = 8192 }, "8192"},
	{"root", func(m *Manifest, _ *Process) { m.Root = 55 }, "not the root"},
	{"no processes", func(m *Manifest, _ *Process) { m.Processes = nil }, "no process"},
	{"xstate name", func(m *Manifest, _ *Process) { m.XState.Name = "../x" }, "xstate.bin"},
	{"xstate size", func(m *Manifest, _ *Process) { m.XState.Size = -1 }, "xstate.bin"},
	{"xstate checksum", func(m *Manifest, _ *Process) { m.XState.SHA256 = "" }, "xstate.bin"},
	{"zero byte in a name", func(m *Manifest, _ *Process) { m.Host.Name = "a\x00" }, "zero byte"},
	{"zero byte in a detail", func(m *Manifest, _ *Process) { m.Descriptions[3].Detail.(*TTY).Path = "/\x00" }, "zero byte"},
}

var damagedTables = []damage{
	{"store name", func(m *Manifest, _ *Process) { m.Stores[0].Name = "../mm-1" }, "not a possible name"},
	{"store twice", func(m *Manifest, _ *Process) { m.Stores = append(m.Stores, m.Stores[0]) }, "there twice"},
	{"store without owner", func(m *Manifest, _ *Process) { m.Stores = append(m.Stores, Store{Name: "mm-9"}) }, "belongs to nothing"},
	{"store used twice", func(m *Manifest, _ *Process) { m.Processes[1].MM.Store = "mm-1" }, "used twice"},
	{"store of the wrong kind", func(m *Manifest, _ *Process) { m.Processes[1].MM.Store = "shm-1" }, "of that kind"},
	{"store unknown", func(m *Manifest, _ *Process) { m.Shared[1].Store = "shm-9" }, "of that kind"},
	{"records negative", func(m *Manifest, _ *Process) { m.Stores[1].Records = -1 }, "not possible"},
	{"too many records", func(m *Manifest, _ *Process) { m.Stores[1].Records = 1 << 40 }, "not possible"},
	{"map size", func(m *Manifest, _ *Process) { m.Stores[0].Map.Size = 65 }, "of its map"},
	{"map name", func(m *Manifest, _ *Process) { m.Stores[0].Map.Name = "mm-2.map" }, "of its map"},
	{"map checksum", func(m *Manifest, _ *Process) { m.Stores[0].Map.SHA256 = "x" }, "of its map"},
	{"data name", func(m *Manifest, _ *Process) { m.Stores[0].Data.Name = "/etc/passwd" }, "of its page data"},
	{"data size negative", func(m *Manifest, _ *Process) { m.Stores[0].Data.Size = -1 }, "of its page data"},
	{"data size", func(m *Manifest, _ *Process) { m.Stores[0].Data.Size = 1 << 40 }, "of its page data"},
	{"data without records", func(m *Manifest, _ *Process) { m.Stores[1].Data = Blob{"mm-2.pages", 4096, ""} }, "of its page data"},
	{"file id", func(m *Manifest, _ *Process) { m.Files[1].ID = 0 }, "has id"},
	{"file path relative", func(m *Manifest, _ *Process) { m.Files[1].Path = "a" }, "absolute"},
	{"file path empty", func(m *Manifest, _ *Process) { m.Files[1].Path = "" }, "absolute"},
	{"file path with ..", func(m *Manifest, _ *Process) { m.Files[1].Path = "/a/../b" }, "absolute"},
	{"file size", func(m *Manifest, _ *Process) { m.Files[1].Size = -1 }, "size"},
	{"file checksum", func(m *Manifest, _ *Process) { m.Files[1].SHA256 = "../../../etc/passwd" }, "SHA-256"},
	{"saved without checksum", func(m *Manifest, _ *Process) { m.Files[1].SHA256 = "" }, "without its SHA-256"},
	{"shared id", func(m *Manifest, _ *Process) { m.Shared[1].ID = 7 }, "has id"},
	{"shared kind", func(m *Manifest, _ *Process) { m.Shared[1].Kind = "x" }, "unknown kind"},
	{"shared size", func(m *Manifest, _ *Process) { m.Shared[1].Size = 1 << 63 }, "size"},
	{"shared without path", func(m *Manifest, _ *Process) { m.Shared[1].Kind = "named" }, "no path"},
	{"shared path", func(m *Manifest, _ *Process) { m.Shared[1].Path = "x" }, "absolute"},
	{"description id", func(m *Manifest, _ *Process) { m.Descriptions[2].ID = 3 }, "has id"},
	{"description without detail", func(m *Manifest, _ *Process) { m.Descriptions[2].Detail = nil }, "no detail"},
	{"owner type", func(m *Manifest, _ *Process) { m.Descriptions[0].Owner.Type = 3 }, "owner"},
	{"owner signal", func(m *Manifest, _ *Process) { m.Descriptions[0].Owner.Signal = 65 }, "owner"},
	{"content of a pipe twice", func(m *Manifest, _ *Process) { m.Descriptions[7].Detail.(*Pipe).Content = []byte("x") }, "twice"},
}

var damagedIPC = []damage{
	{"segment without properties", func(m *Manifest, _ *Process) { m.Shared[2].SysV = nil }, "does not go with"},
	{"segment of another kind", func(m *Manifest, _ *Process) { m.Shared[2].Kind = "anon" }, "does not go with"},
	{"segment empty", func(m *Manifest, _ *Process) { m.Shared[2].Size = 0 }, "never empty"},
	{"segment id", func(m *Manifest, _ *Process) { m.Shared[2].SysV.ID = -1 }, "id -1"},
	{"segment key", func(m *Manifest, _ *Process) { m.Shared[2].SysV.Key = 1 << 31 }, "key"},
	{"segment mode", func(m *Manifest, _ *Process) { m.Shared[2].SysV.Mode = 0o1600 }, "permissions"},
	{"segment owner", func(m *Manifest, _ *Process) { m.Shared[2].SysV.UID = -1 }, "user or group"},
	{"mapping beyond a segment", func(m *Manifest, p *Process) { p.VMAs[2].Object, p.VMAs[2].Offset = 2, PageSize }, "beyond the end"},
	{"set twice", func(m *Manifest, _ *Process) { m.Semaphores = append(m.Semaphores, m.Semaphores[0]) }, "there twice"},
	{"set without semaphores", func(m *Manifest, _ *Process) { m.Semaphores[0].Values = nil }, "0 values"},
	{"set without process ids", func(m *Manifest, _ *Process) { m.Semaphores[0].PIDs = nil }, "0 process ids"},
	{"semaphore value", func(m *Manifest, _ *Process) { m.Semaphores[0].Values[1] = 32768 }, "value 32768"},
	{"semaphore pid", func(m *Manifest, _ *Process) { m.Semaphores[0].PIDs[1] = -1 }, "process -1"},
	{"adjustment of nobody", func(m *Manifest, _ *Process) { m.Semaphores[0].Undo[0].PID = 101 }, "no process 101"},
	{"adjustment of nothing", func(m *Manifest, _ *Process) { m.Semaphores[0].Undo[0].Semaphore = 2 }, "no semaphore 2"},
	{"adjustment too large", func(m *Manifest, _ *Process) { m.Semaphores[0].Undo[0].Adjust = 40000 }, "40000"},
	{"adjustment twice", func(m *Manifest, _ *Process) { m.Semaphores[0].Undo[1].Semaphore = 0 }, "not in order"},
	{"queue limit", func(m *Manifest, _ *Process) { m.Queues[0].Limit = -1 }, "limit"},
	{"queue sender", func(m *Manifest, _ *Process) { m.Queues[0].Sender = -1 }, "sender"},
	{"queue id", func(m *Manifest, _ *Process) { m.Queues[0].ID = 1 << 31 }, "id"},
	{"message type", func(m *Manifest, _ *Process) { m.Queues[0].Messages[0].Type = 0 }, "type 0"},
	{"message length", func(m *Manifest, _ *Process) { m.Queues[0].Messages[0].Data = make([]byte, MaxMessage+1) }, "bytes"},
}

// detail replaces the detail of a description.
func detail(d Detail) func(*Manifest, *Process) {
	return func(m *Manifest, _ *Process) { m.Descriptions[8].Detail = d }
}

var damagedDetails = []damage{
	{"regular file", detail(&Regular{File: 2}), "no file 2"},
	{"regular file negative", detail(&Regular{File: -1}), "no file -1"},
	{"regular offset", detail(&Regular{Offset: -1}), "offset"},
	{"directory", detail(&Directory{Path: "x"}), "absolute"},
	{"path", detail(&Path{Path: "x"}), "absolute"},
	{"device", detail(&Device{Path: "x"}), "absolute"},
	{"device number", detail(&Device{Path: "/x", Minor: -1}), "negative"},
	{"foreground", detail(&TTY{Path: "/dev/pts/1", Foreground: -1}), "group -1"},
	{"tty", detail(&TTY{Path: "pts/1"}), "absolute"},
	{"outside", detail(&Outside{Stream: 3}), "standard stream"},
	{"pipe overfull", detail(&Pipe{Capacity: 1, Content: []byte("xx")}), "in a pipe of 1"},
	{"pipe packets too long", detail(&Pipe{Capacity: 9, Content: []byte("xx"), Packets: []int{3}}), "packet of 3"},
	{"pipe packets too short", detail(&Pipe{Capacity: 9, Content: []byte("xx"), Packets: []int{1}}), "no packet"},
	{"pipe packet negative", detail(&Pipe{Capacity: 9, Content: []byte("xx"), Packets: []int{-1, 3}}), "packet of -1"},
	{"fifo", detail(&Pipe{FIFO: "x"}), "absolute"},
	{"epoll", detail(&Epoll{Entries: []EpollEntry{{Description: 99}}}), "no description 99"},
	{"epoll descriptor", detail(&Epoll{Entries: []EpollEntry{{FD: -1}}}), "negative"},
	{"timerfd", detail(&TimerFD{Value: -1}), "negative"},
	{"inotify order", detail(&Inotify{Watches: []Watch{{2, "/a", 1}, {2, "/b", 1}}}), "not in order"},
	{"inotify path", detail(&Inotify{Watches: []Watch{{2, "a", 1}}}), "absolute"},
	{"memory", detail(&MemoryFD{Shared: 3}), "no shared memory 3"},
	{"descriptor of a segment", detail(&MemoryFD{Shared: 2}), "no descriptor"},
	{"memory offset", detail(&MemoryFD{Offset: -1}), "negative"},
	{"queue name", detail(&MQueue{Name: "../x", MaxMessages: 1, MessageSize: 1}), "not the name"},
	{"queue size", detail(&MQueue{Name: "x", MaxMessages: 1, MessageSize: -1}), "bytes"},
	{"queue notification", detail(&MQueue{Name: "x", MaxMessages: 1, MessageSize: 1, Notify: &MQNotify{PID: 101}}), "not in the tree"},
	{"queue signal", detail(&MQueue{Name: "x", MaxMessages: 1, MessageSize: 1, Notify: &MQNotify{PID: 55, Signal: 65}}), "signal 65"},
	{"pidfd", detail(&PidFD{PID: 101}), "no process 101"},
	{"socket address", detail(&Socket{Local: make([]byte, 200)}), "200 bytes"},
	{"socket option", detail(&Socket{Options: []SocketOption{{1, 2, make([]byte, 1<<17)}}}), "option"},
	{"flight of nothing", detail(&UnixPair{Queue: [][]byte{{1}}, Rights: []Rights{{Message: 0}}}), "no descriptors are in flight"},
	{"flight without a message", detail(&UnixPair{Queue: [][]byte{{1}}, Rights: []Rights{{1, []int{0}}}}), "message 1 of 1"},
	{"flight before the queue", detail(&UnixPair{Queue: [][]byte{{1}}, Rights: []Rights{{-1, []int{0}}}}), "message -1"},
	{"flights twice", detail(&UnixPair{Queue: [][]byte{{1}}, Rights: []Rights{{0, []int{0}}, {0, []int{0}}}}), "after 0"},
	{"unknown flight", detail(&UnixPair{Queue: [][]byte{{1}}, Rights: []Rights{{0, []int{0, 99}}}}), "no description 99"},
	{"crowded flight", detail(&UnixPair{Queue: [][]byte{{1}}, Rights: []Rights{{0, make([]int, 254)}}}), "254 descriptors"},
	{"flight with a datagram", detail(&Socket{Family: 1, Queue: []Datagram{{Rights: []int{-1}}}}), "no description -1"},
	{"flight over the net", detail(&Socket{Family: 2, Queue: []Datagram{{Rights: []int{0}}}}), "address family 2"},
	{"socket backlog", detail(&Socket{Backlog: -1}), "negative"},
}

var damagedProcess = []damage{
	{"parent's thread", func(m *Manifest, _ *Process) { m.Processes[1].ParentTID = 55 }, "no thread 55"},
	{"zombie twice", func(m *Manifest, _ *Process) { m.Zombies[0].PID = 101 }, "there twice"},
	{"zombie's parent", func(m *Manifest, _ *Process) { m.Zombies[0].PPID = 0 }, "parent 0 is not in the tree"},
	{"zombie's parent's thread", func(m *Manifest, _ *Process) { m.Zombies[0].ParentTID = 55 }, "no thread 55"},
	{"zombie's group", func(m *Manifest, _ *Process) { m.Zombies[0].PGID = -1 }, "group -1"},
	{"zombie's status", func(m *Manifest, _ *Process) { m.Zombies[0].Status = 0x7f }, "not possible"},
	{"outside group", func(m *Manifest, _ *Process) { m.Group = -1 }, "group -1"},
	{"parent later", func(m *Manifest, _ *Process) { m.Processes[1].PPID = 55 }, "does not come before"},
	{"pid twice", func(m *Manifest, _ *Process) { m.Processes[1].PID, m.Processes[1].Threads[0].TID = 101, 101 }, "there twice"},
	{"session", func(_ *Manifest, p *Process) { p.SID = -1 }, "session"},
	{"stop signal", func(_ *Manifest, p *Process) { p.Stopped = 65 }, "signal 65"},
	{"executable", func(_ *Manifest, p *Process) { p.Exe = 2 }, "no file 2"},
	{"working directory", func(_ *Manifest, p *Process) { p.Cwd = "" }, "working directory"},
	{"umask", func(_ *Manifest, p *Process) { p.Attributes.Umask = 0o1000 }, "umask"},
	{"oom_score_adj", func(_ *Manifest, p *Process) { p.Attributes.OOMScoreAdj = 1001 }, "oom"},
	{"layout of the extended state", func(m *Manifest, _ *Process) { m.Host.XState[0].Size = 0 }, "extended state"},
	{"filters", func(_ *Manifest, p *Process) { p.Attributes.Filters = -1 }, "filters"},
	{"dumpable", func(_ *Manifest, p *Process) { p.Attributes.Dumpable = 3 }, "dumpable"},
	{"uid", func(_ *Manifest, p *Process) { p.Credentials.UIDs[3] = -1 }, "id -1"},
	{"limit", func(_ *Manifest, p *Process) { p.Limits[0].Cur = 9 }, "above the maximum"},
	{"many limits", func(_ *Manifest, p *Process) { p.Limits = make([]Limit, 99) }, "99 resource"},
	{"descriptor order", func(_ *Manifest, p *Process) { p.FDs[1].Num = 0 }, "not in order"},
	{"descriptor negative", func(_ *Manifest, p *Process) { p.FDs[0].Num = -1 }, "not in order"},
	{"descriptor", func(_ *Manifest, p *Process) { p.FDs[0].Description = 17 }, "no description 17"},
	{"lock kind", func(_ *Manifest, p *Process) { p.Locks[0].Kind = "x" }, "unknown kind"},
	{"lock type", func(_ *Manifest, p *Process) { p.Locks[0].Type = "x" }, "unknown type"},
	{"lock description", func(_ *Manifest, p *Process) { p.Locks[0].Description = 17 }, "no description"},
	{"lock descriptor", func(_ *Manifest, p *Process) { p.Locks[0].FD = 4 }, "no descriptor 4"},
	{"lock file", func(_ *Manifest, p *Process) { p.Locks[0].File = 2 }, "no file 2"},
	{"lock range", func(_ *Manifest, p *Process) { p.Locks[0].End = 4 }, "bytes 5 to 4"},
}

var damagedMemory = []damage{
	{"not aligned", func(_ *Manifest, p *Process) { p.VMAs[0].Start++ }, "not page-aligned"},
	{"empty", func(_ *Manifest, p *Process) { p.VMAs[0].End = p.VMAs[0].Start }, "is empty"},
	{"overlap", func(_ *Manifest, p *Process) { p.VMAs[0].End += PageSize }, "overlaps"},
	{"order", func(_ *Manifest, p *Process) { p.VMAs[0], p.VMAs[1] = p.VMAs[1], p.VMAs[0] }, "overlaps"},
	{"too high", func(_ *Manifest, p *Process) { p.VMAs[3].End = 1<<47 + PageSize }, "too far"},
	{"vsyscall", func(_ *Manifest, p *Process) { p.VMAs[3].Name = "[vsyscall]" }, "vsyscall"},
	{"protection", func(_ *Manifest, p *Process) { p.VMAs[0].Prot = "xwr" }, "protection"},
	{"protection length", func(_ *Manifest, p *Process) { p.VMAs[0].Prot = "rwxp" }, "protection"},
	{"kind", func(_ *Manifest, p *Process) { p.VMAs[0].Kind = "x" }, "unknown kind"},
	{"file", func(_ *Manifest, p *Process) { p.VMAs[0].Object = 2 }, "no file 2"},
	{"shared memory", func(_ *Manifest, p *Process) { p.VMAs[2].Object = 3 }, "no shared memory 3"},
	{"anonymous with object", func(_ *Manifest, p *Process) { p.VMAs[1].Object = 1 }, "no object"},
	{"anonymous and shared", func(_ *Manifest, p *Process) { p.VMAs[1].Shared = true }, "private"},
	{"private with write", func(_ *Manifest, p *Process) { p.VMAs[0].Write = true }, "private"},
	{"offset", func(_ *Manifest, p *Process) { p.VMAs[0].Offset = 1 }, "offset"},
	{"offset overflow", func(_ *Manifest, p *Process) { p.VMAs[0].Offset = 1<<63 - PageSize }, "offset"},
	{"guard outside", func(_ *Manifest, p *Process) { p.VMAs[1].Guards[0].End += PageSize }, "guard"},
	{"guard twice", func(_ *Manifest, p *Process) { p.VMAs[1].Guards = append(p.VMAs[1].Guards, p.VMAs[1].Guards[0]) }, "guard"},
	{"code", func(_ *Manifest, p *Process) { p.MM.StartCode = 0x3000 }, "address space"},
	{"heap", func(_ *Manifest, p *Process) { p.MM.Brk = 1 << 50 }, "address space"},
	{"auxv", func(_ *Manifest, p *Process) { p.MM.Auxv = []byte{1} }, "auxiliary"},
}

var damagedThreads = []damage{
	{"no threads", func(_ *Manifest, p *Process) { p.Threads = nil }, "leader"},
	{"leader not first", func(_ *Manifest, p *Process) { p.Threads[0], p.Threads[1] = p.Threads[1], p.Threads[0] }, "leader"},
	{"thread twice", func(_ *Manifest, p *Process) { p.Threads[1].TID = 100 }, "there twice"},
	{"thread zero", func(_ *Manifest, p *Process) { p.Threads[1].TID = 0 }, "not possible"},
	{"thread huge", func(_ *Manifest, p *Process) { p.Threads[1].TID = 1 << 23 }, "not possible"},
	{"thread order", func(_ *Manifest, p *Process) { p.Threads = append(p.Threads, Thread{TID: 99}) }, "not in order"},
	{"name", func(_ *Manifest, p *Process) { p.Threads[1].Comm = "0123456789abcdef" }, "15 bytes"},
	{"extended state", func(_ *Manifest, p *Process) { p.Threads[1].XState.Size++ }, "xstate.bin"},
	{"extended state overflow", func(_ *Manifest, p *Process) { p.Threads[1].XState = Extent{1, 1<<63 - 1} }, "xstate.bin"},
	{"call", func(_ *Manifest, p *Process) { p.Threads[0].Call.Remaining = -2 }, "system call"},
	{"tls", func(_ *Manifest, p *Process) { p.Threads[0].TLS = make([]TLS, 4) }, "thread-local"},
	{"rseq", func(_ *Manifest, p *Process) { p.Threads[0].RSeq.Pointer = 1 << 60 }, "restartable"},
	{"affinity", func(_ *Manifest, p *Process) { p.Threads[0].Affinity = make([]byte, 5000) }, "CPU mask"},
	{"slack", func(_ *Manifest, p *Process) { p.Threads[0].TimerSlack = -1 }, "slack"},
	{"death signal", func(_ *Manifest, p *Process) { p.Threads[0].DeathSignal = 65 }, "signal 65"},
	{"nice", func(_ *Manifest, p *Process) { p.Threads[0].Sched.Nice = 20 }, "nice 20"},
	{"pending signal", func(_ *Manifest, p *Process) { p.Threads[1].Pending[0].Signal = 0 }, "no signal 0"},
	{"pending siginfo", func(_ *Manifest, p *Process) { p.Threads[1].Pending[0].Raw = nil }, "want 128"},
	{"pending mismatch", func(_ *Manifest, p *Process) { p.Pending[0].Raw[0] = 9 }, "of signal 9"},
	{"action", func(_ *Manifest, p *Process) { p.Actions[0].Signal = 65 }, "signal 65"},
	{"action twice", func(_ *Manifest, p *Process) { p.Actions = append(p.Actions, p.Actions[0]) }, "has two"},
	{"action of SIGKILL", func(_ *Manifest, p *Process) { p.Actions[0].Signal = 9 }, "can't have"},
	{"interval timer", func(_ *Manifest, p *Process) { p.ITimers[0].Which = 3 }, "interval timer"},
	{"interval timer value", func(_ *Manifest, p *Process) { p.ITimers[0].Value = -1 }, "negative"},
	{"timer id", func(_ *Manifest, p *Process) { p.Timers[0].ID = -1 }, "timer -1"},
	{"timer twice", func(_ *Manifest, p *Process) { p.Timers = append(p.Timers, p.Timers[0]) }, "twice"},
	{"timer notification", func(_ *Manifest, p *Process) { p.Timers[0].Notify = 4 }, "notification"},
	{"timer thread", func(_ *Manifest, p *Process) { p.Timers[0].TID = 55 }, "no thread 55"},
	{"timer signal", func(_ *Manifest, p *Process) { p.Timers[0].Signal = 65 }, "signal 65"},
	{"timer value", func(_ *Manifest, p *Process) { p.Timers[0].Interval = -1 }, "negative"},
}
