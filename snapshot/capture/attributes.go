package capture

import (
	"errors"

	"github.com/crtrace/crtrace/snapshot"
	"github.com/crtrace/crtrace/tracer/procfs"
	"golang.org/x/sys/unix"
)

// Commands that x/sys/unix does not name.
const (
	prGetMDWE               = 66
	prGetMemoryMerge        = 68
	membarrierGetRegistered = 1 << 9
	prTSCEnable             = 1
	prMCEKillDefault        = 2
	archGetXCompPerm        = 0x1022
	xTileData               = 18 // the one component that must be asked for
)

// takeAttributes collects the attributes of the process that are values.
func (t *target) takeAttributes() error {
	a := &t.out.Attributes
	number := func(v uint64, err error, to *int) error {
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
			return nil // this kernel does not have the attribute
		}
		*to = int(v)
		return err
	}
	flag := func(option int, to *bool) error {
		var v int
		r, err := t.call(unix.SYS_PRCTL, uint64(option), 0, 0, 0, 0)
		err = number(r, err, &v)
		*to = v != 0
		return err
	}
	value := func(option int, to *int) error {
		r, err := t.call(unix.SYS_PRCTL, uint64(option), 0, 0, 0, 0)
		return number(r, err, to)
	}
	errs := []error{
		value(unix.PR_GET_DUMPABLE, &a.Dumpable),
		flag(unix.PR_GET_KEEPCAPS, &a.KeepCaps),
		value(unix.PR_GET_THP_DISABLE, &a.THPDisable),
		flag(prGetMemoryMerge, &a.MemoryMerge),
		value(prGetMDWE, &a.MDWE),
		value(unix.PR_MCE_KILL_GET, &a.MCEKill),
		t.takePointed(unix.PR_GET_CHILD_SUBREAPER, func(v uint32) { a.Subreaper = v != 0 }),
		t.takePointed(unix.PR_GET_TSC, func(v uint32) {
			if v != prTSCEnable {
				a.TSC = int(v)
			}
		}),
	}
	if a.MCEKill == prMCEKillDefault {
		a.MCEKill = 0
	}
	registered, err := t.call(unix.SYS_MEMBARRIER, membarrierGetRegistered, 0, 0)
	if err == nil { // kernels before 6.3 can't tell
		a.Membarrier = snapshot.Hex(registered)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	// Kernels before 5.16 and processors without dynamic components can't tell.
	if _, err := t.call(unix.SYS_ARCH_PRCTL, archGetXCompPerm, t.remote.Area); err == nil {
		granted, err := t.fetch32()
		if err != nil {
			return err
		}
		a.XTileData = granted>>xTileData&1 != 0
	}
	return t.takeProcAttributes(a)
}

// takePointed reads an attribute that prctl writes to memory as an int.
func (t *target) takePointed(option int, set func(uint32)) error {
	if _, err := t.call(unix.SYS_PRCTL, uint64(option), t.remote.Area, 0, 0, 0); err != nil {
		return err
	}
	v, err := t.fetch32()
	if err == nil {
		set(v)
	}
	return err
}

// takeProcAttributes reads the attributes that lie under /proc. Whether
// mlockall(MCL_FUTURE) is in force is seen on the scratch area, which is newer
// than any call of the program.
func (t *target) takeProcAttributes(a *snapshot.Attributes) error {
	personality, err := procfs.ReadPersonality(t.pid)
	if err != nil {
		return err
	}
	filter, err := procfs.ReadCoredumpFilter(t.pid)
	if err != nil {
		return err
	}
	if a.OOMScoreAdj, err = procfs.ReadOOMScoreAdj(t.pid); err != nil {
		return err
	}
	a.Personality, a.CoredumpFilter = snapshot.Hex(personality), snapshot.Hex(filter)
	return nil
}
