package regs

import (
	"encoding/binary"
	"fmt"
)

// The extended state of a thread (x87, SSE, AVX, AVX-512, ...) is kept in the
// standard format of XSAVE: 512 bytes of legacy state, a header of 64 bytes, and
// components at offsets that differ from processor to processor (Intel SDM volume
// 1, chapter 13; CPUID leaf 0Dh tells them).

const (
	xstateLegacy = 512                 // bytes of x87 and SSE state
	xstateHeader = xstateLegacy        // offset of the header; it begins with XSTATE_BV
	xstateFixed  = xstateLegacy + 64   // where components can begin
	xstateLegal  = uint64(1)<<62 - 1   // bits that name components
	xstateBase   = uint64(1)<<0 | 1<<1 // components in the legacy part
)

// XComponent is one component of the extended state, and where it lies in the
// standard format of some processor.
type XComponent struct {
	Bit    int `json:"bit"`    // of XCR0 and XSTATE_BV, from 2
	Offset int `json:"offset"` // bytes
	Size   int `json:"size"`   // bytes
}

// XStateBV returns which components of an extended state hold something
// (XSTATE_BV); the others are in their initial configuration.
func XStateBV(state []byte) uint64 {
	if len(state) < xstateFixed {
		return 0
	}
	return binary.LittleEndian.Uint64(state[xstateHeader:])
}

// CheckXComponents says what is wrong with a list of components.
func CheckXComponents(list []XComponent) error {
	last := 1
	const most = 1 << 20 // bytes; AMX needs 11 KiB
	for _, c := range list {
		switch {
		case c.Bit <= last || c.Bit > 61:
			return fmt.Errorf("extended state component %d is not in order", c.Bit)
		case c.Offset < xstateFixed || c.Size < 1 || c.Offset > most || c.Size > most:
			return fmt.Errorf("extended state component %d: %d bytes at %d", c.Bit, c.Size, c.Offset)
		}
		last = c.Bit
	}
	return nil
}

// ConvertXState returns an extended state in the layout of another processor, size
// bytes long. Every component that holds something must be known on both sides and
// have the same size there.
func ConvertXState(state []byte, from, to []XComponent, size int) ([]byte, error) {
	if len(state) < xstateFixed || size < xstateFixed {
		return nil, fmt.Errorf("an extended state of %d bytes for a processor with %d", len(state), size)
	}
	out := make([]byte, size)
	copy(out, state[:xstateFixed])
	used := XStateBV(state) & xstateLegal &^ xstateBase
	for bit := 2; used>>bit != 0; bit++ {
		if used>>bit&1 == 0 {
			continue
		}
		a, okA := component(from, bit)
		b, okB := component(to, bit)
		switch {
		case !okA || !okB:
			return nil, fmt.Errorf("extended state component %d is in use and has no place", bit)
		case a.Size != b.Size:
			return nil, fmt.Errorf("extended state component %d has %d bytes, here %d", bit, a.Size, b.Size)
		case a.Offset+a.Size > len(state) || b.Offset+b.Size > size:
			return nil, fmt.Errorf("extended state component %d lies outside the state", bit)
		}
		copy(out[b.Offset:b.Offset+b.Size], state[a.Offset:])
	}
	return out, nil
}

// component finds a component by its bit.
func component(list []XComponent, bit int) (XComponent, bool) {
	for _, c := range list {
		if c.Bit == bit {
			return c, true
		}
	}
	return XComponent{}, false
}
