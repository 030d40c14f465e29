package capture

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/crtrace/crtrace/snapshot"
	"github.com/crtrace/crtrace/tracer"
	"github.com/crtrace/crtrace/tracer/procfs"
	"golang.org/x/sys/unix"
)

// collection is an image in the making: the tables that all processes share.
// A survey has a collection without a writer: it stores nothing.
type collection struct {
	o   Options
	log *slog.Logger
	w   *snapshot.Writer // nil during a survey
	m   *snapshot.Manifest

	targets []*target // the processes of the tree, parents before children

	views       []*view           // descriptors of all processes, while they are looked at
	byID        []*view           // one descriptor of each description
	connections map[tcpEnds]*view // of byID; nil: not listed yet
	caught      []int             // our duplicates of what is in flight, while the tree is stopped
	flying      bool              // a survey has seen that something is in flight
	pipes       map[fileKey]bool  // pipes whose content has been taken
	terminals   map[int]int       // into m.Terminals, by the description of the master side

	files    map[fileKey]int               // into m.Files
	shared   map[fileKey]int               // into m.Shared
	saves    []int                         // m.Files whose content goes into the image after the freeze
	allLocks func() ([]procfs.Lock, error) // what readLocks has begun

	hurried bool // this is the last try: what can be done without is not waited for

	problems []Problem
	warnings []string
}

// fileKey identifies an inode.
type fileKey struct{ dev, ino uint64 }

func newCollection(w *snapshot.Writer, o Options) *collection {
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &collection{
		o: o, log: log, w: w,
		m:     &snapshot.Manifest{Tool: o.Tool, Created: time.Now().UTC().Truncate(time.Millisecond), Host: readHost()},
		pipes: map[fileKey]bool{}, terminals: map[int]int{}, files: map[fileKey]int{}, shared: map[fileKey]int{},
	}
}

// surveying tells whether only problems are wanted.
func (c *collection) surveying() bool { return c.w == nil }

// tryAgain is the hint for what is in the way for a moment only.
const tryAgain = "try again in a moment"

// passing tells whether an error means only what will be over in a moment.
func passing(err error) bool {
	u, ok := errors.AsType[*UnsupportedError](err)
	return ok && !slices.ContainsFunc(u.Problems, func(p Problem) bool { return p.Hint != tryAgain })
}

// warn notes, once, that something will not be exactly as it was.
func (c *collection) warn(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(c.warnings, text) {
		c.warnings = append(c.warnings, text)
	}
}

// formatProblems lists problems, a line each.
func formatProblems(problems []Problem) string {
	var b strings.Builder
	b.WriteString("can't be checkpointed; nothing was touched:")
	for _, p := range problems {
		fmt.Fprintf(&b, "\n  process %d: %s: %s", p.PID, p.Object, p.Why)
		if p.Hint != "" {
			fmt.Fprintf(&b, " (%s)", p.Hint)
		}
	}
	return b.String()
}

// readClocks reads the clocks that a process lives by. In a time namespace they
// are those of the host with offsets.
func readClocks(pid int) snapshot.Clocks {
	read := func(clock int32) int64 {
		var ts unix.Timespec
		if err := unix.ClockGettime(clock, &ts); err != nil {
			return 0
		}
		return ts.Nano()
	}
	offsets := timeOffsets(pid)
	return snapshot.Clocks{
		Realtime:  read(unix.CLOCK_REALTIME),
		Monotonic: read(unix.CLOCK_MONOTONIC) + offsets["monotonic"],
		Boottime:  read(unix.CLOCK_BOOTTIME) + offsets["boottime"],
	}
}

// timeOffsets returns the offsets of a process's clocks, in nanoseconds, less
// those of this process. Without time namespaces there are none.
func timeOffsets(pid int) map[string]int64 {
	theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/time", pid))
	ours, err2 := os.Readlink("/proc/self/ns/time")
	if err != nil || err2 != nil || theirs == ours {
		return nil
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/timens_offsets", pid))
	if err != nil {
		return nil
	}
	offsets := map[string]int64{}
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if len(words) != 3 {
			continue
		}
		sec, err := strconv.ParseInt(words[1], 10, 64)
		nsec, err2 := strconv.ParseInt(words[2], 10, 64)
		if err == nil && err2 == nil {
			offsets[words[0]] = sec*1e9 + nsec
		}
	}
	return offsets
}

// readHost describes this machine.
func readHost() snapshot.Host {
	h := snapshot.Host{Arch: "amd64", PageSize: os.Getpagesize()}
	if xcr0, err := tracer.HostXCR0(); err == nil {
		h.XCR0 = snapshot.Hex(xcr0)
	}
	if layout, err := tracer.HostXComponents(); err == nil {
		h.XState = layout
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		h.Name = unix.ByteSliceToString(u.Nodename[:])
		h.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	if id, err := os.ReadFile("/proc/sys/kernel/random/boot_id"); err == nil {
		h.BootID = strings.TrimSpace(string(id))
	}
	return h
}
