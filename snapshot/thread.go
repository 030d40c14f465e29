package snapshot

import "github.com/crtrace/crtrace/regs"

// Thread is one thread of a process.
type Thread struct {
	TID    int        `json:"tid"`
	Comm   string     `json:"comm"`
	Regs   regs.AMD64 `json:"regs"`
	XState Extent     `json:"xstate"` // in Manifest.XState
	Call   *Call      `json:"call,omitempty"`
	TLS    []TLS      `json:"tls,omitempty"` // GDT entries of a 32-bit thread

	Mask     Hex       `json:"mask"` // blocked signals
	Pending  []Siginfo `json:"pending,omitempty"`
	AltStack AltStack  `json:"alt_stack"`

	ClearTID         Hex        `json:"clear_tid,omitempty"` // set_tid_address
	RobustList       RobustList `json:"robust_list"`
	RobustListCompat RobustList `json:"robust_list_compat"`
	RSeq             RSeq       `json:"rseq"`

	Sched       Sched  `json:"sched"`
	Affinity    []byte `json:"affinity"`               // bit mask of CPUs as sched_getaffinity returns it
	TimerSlack  int64  `json:"timer_slack"`            // nanoseconds
	DeathSignal int    `json:"death_signal,omitempty"` // PR_GET_PDEATHSIG
	IOPriority  int    `json:"io_priority,omitempty"`
}

// Extent is a part of a file.
type Extent struct {
	Offset int64 `json:"offset"`
	Size   int64 `json:"size"`
}

// Call is the system call that a thread was interrupted in and that must be
// issued again. The registers already say how (rax holds the number, rip points
// at the instruction); Call adds what they can't.
type Call struct {
	Number int    `json:"number"`
	Name   string `json:"name,omitempty"`
	// Block: the kernel kept the rest of the time-out to itself (restart block).
	Block bool `json:"block,omitempty"`
	// Remaining is the time, in nanoseconds, that was left of a relative
	// time-out, -1 where the call has none or the kernel keeps it.
	Remaining int64 `json:"remaining"`
	// Exact tells that Remaining was measured; otherwise it is the whole time-out.
	Exact bool `json:"exact,omitempty"`
}

// TLS is one thread-local-storage entry of the GDT (struct user_desc).
type TLS struct {
	Entry uint32 `json:"entry"`
	Base  Hex    `json:"base"`
	Limit Hex    `json:"limit"`
	Flags Hex    `json:"flags"`
}

// AltStack is the alternate signal stack (sigaltstack).
type AltStack struct {
	Base  Hex `json:"base"`
	Size  Hex `json:"size"`
	Flags Hex `json:"flags"`
}

// RobustList is the head of the list of robust futexes.
type RobustList struct {
	Head Hex `json:"head"`
	Size Hex `json:"size"`
}

// RSeq is a registration of restartable sequences; Pointer 0: none.
type RSeq struct {
	Pointer   Hex `json:"pointer"`
	Size      Hex `json:"size"`
	Signature Hex `json:"signature"`
}

// Sched holds the scheduling attributes of a thread (struct sched_attr).
type Sched struct {
	Policy   int    `json:"policy"`
	Flags    Hex    `json:"flags"`
	Nice     int    `json:"nice"`
	Priority int    `json:"priority"`
	Runtime  uint64 `json:"runtime,omitempty"`
	Deadline uint64 `json:"deadline,omitempty"`
	Period   uint64 `json:"period,omitempty"`
}
