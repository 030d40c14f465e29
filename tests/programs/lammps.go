package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

var melt = []string{"mpirun.openmpi", "--oversubscribe", "-n", "2", "lmp", "-in", "SOURCE"}

// lammps is a molecular dynamics program under MPI: two ranks which exchange atoms
// through shared memory. Its input ends by itself.
var lammps = entry{name: "lammps", packages: []string{"lammps", "openmpi-bin"}, tools: []string{"lmp"}, ordinary: true,
	source: "melt.in", run: melt,
	progress: func(l *life) int { return len(thermo(l.read("out"))) },
	check:    checkMelt}

// thermo returns the thermodynamic lines: the number of the time step and five
// values in full precision.
func thermo(output string) []string {
	var lines []string
	for line := range strings.Lines(output) {
		fields := strings.Fields(line)
		if len(fields) == 6 && strings.HasSuffix(line, "\n") && strings.Trim(fields[0], "0123456789") == "" {
			lines = append(lines, strings.Join(fields, " "))
		}
	}
	return lines
}

// uninterrupted returns the lines of a run without checkpoints on this processor:
// another one may round differently.
var uninterrupted = sync.OnceValues(func() ([]string, error) {
	source, err := filepath.Abs("tests/programs/src/melt.in")
	if err != nil {
		return nil, err
	}
	words := replaceAll(strings.NewReplacer("SOURCE", source), melt)
	text, err := exec.Command(words[0], append(words[1:], "-log", "none")...).Output()
	if err != nil {
		return nil, explained(err)
	}
	return thermo(string(text)), nil
})

// checkMelt compares all lines, the last digit included.
func checkMelt(l *life) error {
	want, err := uninterrupted()
	if err != nil {
		return fmt.Errorf("a run without checkpoints: %w", err)
	}
	got := thermo(l.read("out"))
	if len(got) != len(want) || len(want) == 0 {
		return fmt.Errorf("%d lines of results, want %d", len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			return fmt.Errorf("the results say %q, want %q", got[i], want[i])
		}
	}
	return nil
}
