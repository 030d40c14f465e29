package snapshot

import (
	"time"

	"github.com/crtrace/crtrace/regs"
)

// FormatMajor and FormatMinor are the version of the image format that this
// package writes. A reader refuses another major version and a newer minor one.
const (
	FormatMajor = 1
	FormatMinor = 0
)

// Format is the version of an image's format.
type Format struct {
	Major int `json:"major"`
	Minor int `json:"minor"`
}

// Manifest is the whole of an image but for bulk data: page contents, extended
// register states and copies of files lie beside it, in files that it names.
type Manifest struct {
	Format  Format    `json:"format"`
	ID      string    `json:"id"`      // 32 hexadecimal digits, random, unique to the image
	Created time.Time `json:"created"` // UTC
	Tool    string    `json:"tool"`    // version of crtrace that wrote the image
	Host    Host      `json:"host"`

	Root int `json:"root"` // pid of the root process of the tree
	// Session and Group are those of whoever started the tree: a process of the
	// tree that is in them is in the restorer's after a restore. 0: nobody is.
	Session int `json:"session,omitempty"`
	Group   int `json:"group,omitempty"`

	Processes    []Process     `json:"processes"`         // parents before children; the root first
	Zombies      []Zombie      `json:"zombies,omitempty"` // children of processes that have ended and were not waited for
	Files        []File        `json:"files"`             // files on disk that mappings and descriptions refer to
	Shared       []Shared      `json:"shared"`            // memory that lives outside any address space
	Descriptions []Description `json:"descriptions"`      // open file descriptions, each once
	// Semaphores and Queues are the System V IPC objects of the tree; the segments
	// are among Shared.
	Semaphores []SemaphoreSet `json:"semaphores,omitempty"`
	Queues     []MessageQueue `json:"queues,omitempty"`
	// Terminals are the pseudo terminals that the tree has made.
	Terminals []Terminal `json:"terminals,omitempty"`
	Stores    []Store    `json:"stores"` // page stores: one for each address space and shared memory
	XState    Blob       `json:"xstate"` // extended states of all threads, end to end
}

// Host describes the machine and kernel that the image was taken on.
type Host struct {
	Name     string `json:"name"`   // nodename
	Kernel   string `json:"kernel"` // release
	Arch     string `json:"arch"`   // GOARCH word: "amd64"
	PageSize int    `json:"page_size"`
	BootID   string `json:"boot_id"`
	XCR0     Hex    `json:"xcr0"` // extended state components that the processor and kernel had enabled
	// XState tells where they lie in the extended states of this image.
	XState []regs.XComponent `json:"xstate"`
	Clocks Clocks            `json:"clocks"`
}

// Clocks are the readings of the system's clocks, in nanoseconds, while the
// tree was frozen.
type Clocks struct {
	Realtime  int64 `json:"realtime"`
	Monotonic int64 `json:"monotonic"`
	Boottime  int64 `json:"boottime"`
}

// Blob is a part of the image's bulk data: a file in the image's directory and
// what a reader must find in it.
type Blob struct {
	Name   string `json:"name"`   // file name inside the image; empty when Size is 0
	Size   int64  `json:"size"`   // bytes
	SHA256 string `json:"sha256"` // of the whole file; empty for page data, whose records carry checksums
}

// Store is one page store: the pages of an address space or of a shared memory.
// Map is a file of fixed-width records, Data holds the pages.
type Store struct {
	Name string `json:"name"` // "mm-1", "shm-2"
	// Base is the store of another address space, which comes before this one:
	// records can say that pages are as they are there. Empty: none.
	Base    string `json:"base,omitempty"`
	Records int    `json:"records"` // number of records in Map
	Map     Blob   `json:"map"`
	Data    Blob   `json:"data"`
}

// File is a file that the program has mapped, opened or runs from.
type File struct {
	ID      int    `json:"id"` // index in Manifest.Files
	Path    string `json:"path"`
	Mode    Hex    `json:"mode"` // st_mode
	Dev     Hex    `json:"dev"`
	Ino     uint64 `json:"ino"`
	Size    int64  `json:"size"`              // bytes, when the tree was frozen
	MTime   int64  `json:"mtime"`             // nanoseconds since the epoch
	SHA256  string `json:"sha256,omitempty"`  // of the content; empty where only size and time identify it
	Saved   bool   `json:"saved,omitempty"`   // the content is in the image, as files/<sha256>
	Deleted bool   `json:"deleted,omitempty"` // no name leads to it any more
	// Rule is what the one who took the checkpoint wants to become of it.
	Rule FileRule `json:"rule,omitempty"`
}

// Shared is memory that several mappings, descriptions or processes can hold:
// a memfd, a shared anonymous mapping, a file that has been deleted, a file in
// /dev/shm (kind "named"), a segment of System V shared memory.
type Shared struct {
	ID    int      `json:"id"` // index in Manifest.Shared
	Name  string   `json:"name"`
	Path  string   `json:"path,omitempty"` // where the file was or is; empty for "memfd" and "anon"
	Kind  string   `json:"kind"`           // "memfd", "anon", "deleted", "named", "sysv"
	Size  Hex      `json:"size"`
	Seals Hex      `json:"seals,omitempty"` // F_SEAL_* bits of a memfd
	Mode  Hex      `json:"mode,omitempty"`
	Store string   `json:"store"`          // page store with its content
	SysV  *SysVShm `json:"sysv,omitempty"` // kind "sysv" only
}
