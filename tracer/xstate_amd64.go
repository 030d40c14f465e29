package tracer

import (
	"errors"

	"github.com/crtrace/crtrace/regs"
	"golang.org/x/sys/cpu"
)

// xgetbv reads XCR0. Implemented in xstate_amd64.s.
func xgetbv() uint64

// cpuid asks the processor for two of its four answers. Implemented in xstate_amd64.s.
func cpuid(leaf, subleaf uint32) (eax, ebx uint32)

// HostXCR0 returns which extended state components (XCR0) the processor and the
// kernel have enabled.
func HostXCR0() (uint64, error) {
	if !cpu.X86.HasOSXSAVE {
		return 0, errors.New("this processor has no XSAVE")
	}
	return xgetbv(), nil
}

// HostXComponents returns where the components of the extended state lie on this
// processor (CPUID leaf 0Dh).
func HostXComponents() ([]regs.XComponent, error) {
	enabled, err := HostXCR0()
	if err != nil {
		return nil, err
	}
	const leaf, first, last = 0xd, 2, 61
	var list []regs.XComponent
	for bit := first; bit <= last; bit++ {
		if enabled>>bit&1 == 0 {
			continue
		}
		size, offset := cpuid(leaf, uint32(bit))
		list = append(list, regs.XComponent{Bit: bit, Offset: int(offset), Size: int(size)})
	}
	return list, nil
}
