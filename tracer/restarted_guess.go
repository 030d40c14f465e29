package tracer

import (
	"encoding/binary"
	"strings"

	"github.com/crtrace/crtrace/regs"
	"golang.org/x/sys/unix"
)

// guess tells a restarted call by its arguments: nanosleep(request, rest),
// clock_nanosleep(clock, flags, request, rest), poll(array, count, milliseconds) and
// futex(word, operation, value, time-out) have little in common.
type guess struct {
	r     *regs.AMD64
	mem   *Memory
	wchan string // "" or "0" where the kernel does not tell
}

// number returns the call's number.
func (g *guess) number() (int, bool) {
	nanosleep, clock, poll, futex := unix.SYS_NANOSLEEP, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_POLL, unix.SYS_FUTEX
	a := g.args()
	if g.r.Compat() {
		nanosleep, poll = 162, 168
		clock, futex = g.narrow(a[2], 267, 407), g.narrow(a[3], 240, 422)
	}
	switch {
	case strings.Contains(g.wchan, "futex"):
		return futex, true
	case strings.Contains(g.wchan, "poll"):
		return poll, true
	case g.isClockSleep(a):
		return clock, true
	case g.isFutex(a):
		return futex, true
	case g.isSleep(a):
		return nanosleep, true
	case int32(a[2]) >= 0: // a relative time-out
		return poll, true
	}
	return 0, false
}

// args returns the first four arguments.
func (g *guess) args() (out [4]uint64) {
	for i := range out {
		out[i] = *args(g.r)[i]
	}
	return out
}

func (g *guess) isClockSleep(a [4]uint64) bool {
	const clocks = 32 // more than there are CLOCK_*; those of processes are negative
	return int32(a[0]) < clocks && a[0] == uint64(uint32(a[0])) && uint32(a[1]) == 0 && g.isTime(a[2], true)
}

// isFutex: only FUTEX_WAIT and FUTEX_WAIT_BITSET are restarted.
func (g *guess) isFutex(a [4]uint64) bool {
	const wait, waitBitset, options = 0, 9, 128 | 256 // FUTEX_PRIVATE_FLAG, FUTEX_CLOCK_REALTIME
	switch uint32(a[1]) &^ options {
	case wait:
		return uint32(a[1]) != wait && g.isTime(a[3], true) || !g.isTime(a[0], false) && a[0] != 0 && g.isTime(a[3], true)
	case waitBitset:
		return g.isTime(a[3], true)
	}
	return false
}

func (g *guess) isSleep(a [4]uint64) bool {
	const lowest = 4096
	return g.isTime(a[0], false) && (a[1] == 0 || a[1] >= lowest)
}

// isTime tells whether a struct timespec lies at an address; both says that a
// 32-bit program may have one of either size there.
func (g *guess) isTime(at uint64, both bool) bool {
	sizes := []bool{true}
	if g.r.Compat() {
		if sizes = []bool{false}; both {
			sizes = []bool{false, true}
		}
	}
	for _, wide := range sizes {
		var b [16]byte
		if g.mem.Read(at, b[:]) != nil {
			continue
		}
		sec, nsec := int64(binary.LittleEndian.Uint64(b[:])), int64(binary.LittleEndian.Uint64(b[8:]))
		if !wide {
			sec, nsec = int64(int32(sec)), sec>>32
		}
		if _, ok := duration(sec, nsec); ok {
			return true
		}
	}
	return false
}

// narrow chooses between the calls of a 32-bit program for two sizes of struct
// timespec: the second word of the larger one is the upper half of its seconds.
func (g *guess) narrow(at uint64, narrow, wide int) int {
	var second [4]byte
	if g.mem.Read(at+4, second[:]) == nil && second == [4]byte{} {
		return wide
	}
	return narrow
}
