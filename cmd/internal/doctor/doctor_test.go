package doctor

import (
	"context"
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMain lets the test binary serve as its own probes.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == ProbeCommand {
		if err := Probe(os.Stdout, os.Args[2:]); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestRun(t *testing.T) {
	seen := map[string]bool{}
	verdict, err := Run(t.Context(), func(c Check) error {
		if seen[c.Name] {
			t.Errorf("two checks are called %q", c.Name)
		}
		seen[c.Name] = true
		if c.Detail == "" || c.Status != OK && c.Status != Warn && c.Status != No {
			t.Errorf("incomplete: %+v", c)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{nameTrace, nameRead, nameOthers, nameMM, nameBurn, nameSetTID, nameNamespace} {
		if !seen[name] {
			t.Errorf("no check %q, the verdict depends on it", name)
		}
	}
	if verdict.Checkpoint == "" || verdict.Restore == "" {
		t.Errorf("verdict %+v", verdict)
	}
	if _, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); !errors.Is(err, unix.ECHILD) {
		t.Errorf("children are left behind: %v", err)
	}
}

func TestRunStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	_, err := Run(ctx, func(Check) error {
		n++
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) || n != 1 {
		t.Errorf("%d checks, %v", n, err)
	}
}

func TestJudge(t *testing.T) {
	all := func(bad ...string) (list []Check) {
		for _, name := range []string{nameTrace, nameRead, nameOthers, nameMM, nameBurn, nameSetTID, nameNamespace} {
			c := Check{Name: name, Status: OK}
			for _, b := range bad {
				if b == name {
					c.Status = No
				}
			}
			list = append(list, c)
		}
		return list
	}
	for _, tc := range []struct {
		bad           []string
		save, restore bool
	}{
		{nil, true, true},
		{[]string{nameTrace}, false, false},
		{[]string{nameRead}, false, true},
		{[]string{nameMM}, true, false},
		{[]string{nameBurn, nameSetTID, nameNamespace, nameOthers}, true, true},
	} {
		v := judge(all(tc.bad...))
		if v.CanSave != tc.save || v.CanRestore != tc.restore || v.OK() != (tc.save && tc.restore) {
			t.Errorf("without %q: %+v", tc.bad, v)
		}
	}
	if judge(nil).OK() {
		t.Error("nothing was checked, and all is well")
	}
}
