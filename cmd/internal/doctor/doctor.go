// Package doctor finds out what crtrace can do on this host, by trying.
//
// In a nutshell: each check uses a feature of the kernel on a process that was
// made for it and reports ok, warn or no, with what that means. What needs
// another identity, namespace or address space runs in a probe: this very
// program, started again with the hidden command [ProbeCommand]. Probes die with
// their parent (PR_SET_PDEATHSIG), and wait for the end of their standard input,
// so none is left behind.
//
// Checks run one after the other on the caller's goroutine; those that trace do
// so on a locked thread that ends with the check.
package doctor

import (
	"context"
	"slices"
)

// Status is the result of a check.
type Status string

// The results.
const (
	OK   Status = "ok"
	Warn Status = "warn" // works, but with a restriction
	No   Status = "no"
)

// Check is the result of one check.
type Check struct {
	Name   string `json:"name"`
	Status Status `json:"status"`
	Detail string `json:"detail"` // what was found and what it means
}

// Verdict sums the checks up.
type Verdict struct {
	Checkpoint string `json:"checkpoint"` // in words
	Restore    string `json:"restore"`
	CanSave    bool   `json:"can_checkpoint"`
	CanRestore bool   `json:"can_restore"`
}

// OK tells whether both halves work in at least one way.
func (v Verdict) OK() bool { return v.CanSave && v.CanRestore }

// The names of the checks that the verdict depends on.
const (
	nameTrace     = "trace a child"
	nameRead      = "read a process's memory"
	nameOthers    = "trace a program that crtrace has not started"
	nameMM        = "set the layout of memory"
	nameBurn      = "reach ids on this host"
	nameSetTID    = "choose ids on this host"
	nameNamespace = "choose ids in a namespace"
)

// Run makes all checks and calls report after each. It stops when ctx ends or
// report fails.
func Run(ctx context.Context, report func(Check) error) (Verdict, error) {
	var all []Check
	for _, group := range []func(context.Context) []Check{
		checkKernel, checkYama, checkTrace, checkOthers, checkReading, checkMM,
		checkBurn, checkSetTID, checkNamespace, checkTimeNamespace,
		checkPagemap, checkUserfault, checkKcmp, checkSched, checkRseq, checkRoom,
	} {
		for _, c := range group(ctx) {
			if err := ctx.Err(); err != nil {
				return Verdict{}, err
			}
			if err := report(c); err != nil {
				return Verdict{}, err
			}
			all = append(all, c)
		}
	}
	return judge(all), nil
}

// judge draws the conclusion.
func judge(all []Check) Verdict {
	good := func(name string) bool {
		i := slices.IndexFunc(all, func(c Check) bool { return c.Name == name })
		return i >= 0 && all[i].Status != No
	}
	v := Verdict{Checkpoint: "impossible: processes can't be traced here", Restore: "impossible: processes can't be rebuilt here"}
	if good(nameTrace) && good(nameRead) {
		v.CanSave = true
		v.Checkpoint = "works for any program of yours"
		if !good(nameOthers) {
			v.Checkpoint = "works for programs started by 'crtrace launch' or 'crtrace restore'"
		}
	}
	if good(nameTrace) && good(nameMM) {
		v.CanRestore = true
		switch {
		case good(nameSetTID) || good(nameBurn):
			v.Restore = "works, with the original process ids on this host"
		case good(nameNamespace):
			v.Restore = "works, with the original process ids in a namespace (--pids=namespace)"
		default:
			v.Restore = "works, but with other process ids (--pids=any)"
		}
	}
	return v
}

// one makes the result of a check that is all or nothing.
func one(name string, err error, good, bad string) []Check {
	if err != nil {
		return []Check{{name, No, bad + " (" + err.Error() + ")"}}
	}
	return []Check{{name, OK, good}}
}
