package snapshot

// Process is one process of the tree.
type Process struct {
	PID  int `json:"pid"`
	PPID int `json:"ppid"` // 0 for the root and for orphans: the parent is whoever stands for the tree
	// ParentTID is the thread of the parent that PR_SET_PDEATHSIG and wait with
	// __WNOTHREAD go by; 0: the leader.
	ParentTID int `json:"parent_tid,omitempty"`
	PGID      int `json:"pgid"`
	SID       int `json:"sid"`
	Stopped   int `json:"stopped,omitempty"` // signal that had stopped the process, 0 when it was running
	// StopReported: the parent, a process of the tree, has waited for the stop.
	StopReported bool `json:"stop_reported,omitempty"`

	Compat  bool   `json:"compat,omitempty"` // a 32-bit program
	Exe     int    `json:"exe"`              // Manifest.Files
	Cwd     string `json:"cwd"`
	CwdGone bool   `json:"cwd_gone,omitempty"` // the directory had been removed

	Attributes  Attributes   `json:"attributes"`
	Credentials Credentials  `json:"credentials"`
	Limits      []Limit      `json:"limits"` // by RLIMIT_* number
	MM          MM           `json:"mm"`
	VMAs        []VMA        `json:"vmas"`
	FDs         []FD         `json:"fds"`
	Locks       []Lock       `json:"locks,omitempty"`
	Actions     []Action     `json:"actions"` // signals whose action is not the default one
	Pending     []Siginfo    `json:"pending,omitempty"`
	ITimers     []ITimer     `json:"itimers,omitempty"`
	Timers      []PosixTimer `json:"timers,omitempty"`
	Threads     []Thread     `json:"threads"` // the leader first, then ascending
}

// ForkedFrom returns the process, its parent, that a process has pages in common
// with: its page store is based on that one's. nil: there is none.
func (m *Manifest) ForkedFrom(p *Process) *Process {
	base := ""
	for _, s := range m.Stores {
		if s.Name == p.MM.Store {
			base = s.Base
		}
	}
	for i := range m.Processes {
		if q := &m.Processes[i]; base != "" && q.MM.Store == base && q.PID == p.PPID && q.Exe == p.Exe && q.Compat == p.Compat {
			return q
		}
	}
	return nil
}

// Forks returns a process and all that descend from it by forks without an execve, in
// the way of ForkedFrom.
func (m *Manifest) Forks(p *Process) []*Process {
	out := []*Process{p}
	in := map[*Process]bool{p: true}
	for i := range m.Processes { // parents come first
		if q := &m.Processes[i]; in[m.ForkedFrom(q)] {
			in[q] = true
			out = append(out, q)
		}
	}
	return out
}

// Attributes are the properties of a process that have a value each.
type Attributes struct {
	Umask          Hex  `json:"umask"`
	Personality    Hex  `json:"personality"`
	CoredumpFilter Hex  `json:"coredump_filter"`
	OOMScoreAdj    int  `json:"oom_score_adj"`
	Dumpable       int  `json:"dumpable"`
	NoNewPrivs     bool `json:"no_new_privs,omitempty"`
	Filters        int  `json:"filters,omitempty"` // system call filters (seccomp) in force; they are not in the image
	KeepCaps       bool `json:"keep_caps,omitempty"`
	Subreaper      bool `json:"subreaper,omitempty"`
	THPDisable     int  `json:"thp_disable,omitempty"`  // PR_GET_THP_DISABLE
	MemoryMerge    bool `json:"memory_merge,omitempty"` // PR_GET_MEMORY_MERGE
	MDWE           int  `json:"mdwe,omitempty"`         // PR_GET_MDWE
	MCEKill        int  `json:"mce_kill,omitempty"`     // PR_MCE_KILL_GET
	TSC            int  `json:"tsc,omitempty"`          // PR_GET_TSC, 0 where it is the default
	LockFuture     bool `json:"lock_future,omitempty"`  // mlockall(MCL_FUTURE) is in force
	Membarrier     Hex  `json:"membarrier,omitempty"`   // MEMBARRIER_CMD_GET_REGISTRATIONS
	XTileData      bool `json:"xtile_data,omitempty"`   // it has asked for AMX (ARCH_REQ_XCOMP_PERM)
}

// Credentials are the identity of a process. They are compared on restore, never raised.
type Credentials struct {
	UIDs   [4]int `json:"uids"` // real, effective, saved, file system
	GIDs   [4]int `json:"gids"`
	Groups []int  `json:"groups"`
}

// Limit is a resource limit; ^0 is "unlimited".
type Limit struct {
	Cur Hex `json:"cur"`
	Max Hex `json:"max"`
}

// MM is the description of an address space that prctl(PR_SET_MM_MAP) takes.
type MM struct {
	Store      string `json:"store"` // page store
	StartCode  Hex    `json:"start_code"`
	EndCode    Hex    `json:"end_code"`
	StartData  Hex    `json:"start_data"`
	EndData    Hex    `json:"end_data"`
	StartBrk   Hex    `json:"start_brk"`
	Brk        Hex    `json:"brk"`
	StartStack Hex    `json:"start_stack"`
	ArgStart   Hex    `json:"arg_start"`
	ArgEnd     Hex    `json:"arg_end"`
	EnvStart   Hex    `json:"env_start"`
	EnvEnd     Hex    `json:"env_end"`
	Auxv       []byte `json:"auxv"` // as in /proc/PID/auxv
}

// VMAKind tells where the content of a VMA comes from.
type VMAKind string

// The kinds of VMAs.
const (
	VMAAnon   VMAKind = "anon"   // private anonymous memory
	VMAFile   VMAKind = "file"   // a file on disk, private or shared
	VMAShared VMAKind = "shared" // a Shared of the manifest
	VMAVDSO   VMAKind = "vdso"   // vdso, vvar, vvar_vclock: supplied by the kernel
)

// VMA is one virtual memory area.
type VMA struct {
	Start  Hex     `json:"start"`
	End    Hex     `json:"end"`
	Prot   string  `json:"prot"` // "rwx", "r--", ...
	Shared bool    `json:"shared,omitempty"`
	Kind   VMAKind `json:"kind"`
	Offset Hex     `json:"offset,omitempty"`
	Object int     `json:"object,omitempty"` // index into Files or Shared, by Kind
	Write  bool    `json:"write,omitempty"`  // a shared mapping of a file that was opened for writing
	Name   string  `json:"name,omitempty"`   // label: "[stack]", "[heap]", "[vdso]", "[anon:x]"
	Flags  string  `json:"flags"`            // VmFlags of /proc/PID/smaps, separated by spaces
	Guards []Range `json:"guards,omitempty"` // MADV_GUARD_INSTALL regions
}

// Range is a half-open range of addresses.
type Range struct {
	Start Hex `json:"start"`
	End   Hex `json:"end"`
}

// FD is one entry of a descriptor table.
type FD struct {
	Num         int  `json:"num"`
	Description int  `json:"description"` // Manifest.Descriptions
	CloseOnExec bool `json:"close_on_exec,omitempty"`
}

// Action is what a signal does.
type Action struct {
	Signal   int `json:"signal"`
	Handler  Hex `json:"handler"` // 0 SIG_DFL, 1 SIG_IGN
	Flags    Hex `json:"flags"`
	Restorer Hex `json:"restorer"`
	Mask     Hex `json:"mask"`
}

// Siginfo is a queued signal with everything that its handler will see.
type Siginfo struct {
	Signal int    `json:"signal"`
	Code   int    `json:"code"`
	Raw    []byte `json:"raw"` // the kernel's siginfo_t, 128 bytes
}

// ITimer is an interval timer; times in microseconds.
type ITimer struct {
	Which    int   `json:"which"` // ITIMER_*
	Value    int64 `json:"value"`
	Interval int64 `json:"interval"`
}

// PosixTimer is a timer made by timer_create; times in nanoseconds.
type PosixTimer struct {
	ID       int   `json:"id"`
	Clock    int   `json:"clock"`
	Notify   int   `json:"notify"` // SIGEV_*, without SIGEV_THREAD_ID
	Signal   int   `json:"signal"`
	TID      int   `json:"tid,omitempty"` // thread that is signalled with SIGEV_THREAD_ID
	Sigval   Hex   `json:"sigval"`
	Value    int64 `json:"value"` // 0: not armed
	Interval int64 `json:"interval"`
	Overrun  int   `json:"overrun,omitempty"`
}

// Lock is a file lock.
type Lock struct {
	Kind        string `json:"kind"`        // "flock", "posix", "ofd", "lease"
	Description int    `json:"description"` // Manifest.Descriptions, -1 when no description is left
	File        int    `json:"file"`        // Manifest.Files, -1 when Description leads to it
	FD          int    `json:"fd"`          // a descriptor that leads to the file, -1 when none is left
	Type        string `json:"type"`        // "read", "write"
	Start       int64  `json:"start"`       // first byte
	End         int64  `json:"end"`         // last byte, -1: to the end of the file
}
