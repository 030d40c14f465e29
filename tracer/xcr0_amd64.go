package tracer

import (
	"errors"

	"golang.org/x/sys/cpu"
)

// xgetbv reads XCR0. Implemented in xcr0_amd64.s.
func xgetbv() uint64

// HostXCR0 returns which extended state components (XCR0) the processor and the
// kernel have enabled.
func HostXCR0() (uint64, error) {
	if !cpu.X86.HasOSXSAVE {
		return 0, errors.New("this processor has no XSAVE")
	}
	return xgetbv(), nil
}
