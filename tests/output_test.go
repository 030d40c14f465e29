package tests

import (
	"slices"
	"strings"
	"testing"
)

// TestCheckOutput: the judge of all victims sees what is wrong.
func TestCheckOutput(t *testing.T) {
	for _, c := range []struct {
		name, text string
		ok         bool
	}{
		{"whole", "ready 1\nstep 1\nstep 2\nPASS\n", true},
		{"with other lines", "slept poll 1 1\nready 1\nstep 1\nstopping\ncontinued\nslept poll 5 6\nPASS\n", true},
		{"gap", "ready 1\nstep 1\nstep 3\nPASS\n", false},
		{"repeat", "ready 1\nstep 1\nstep 1\nPASS\n", false},
		{"started anew", "ready 1\nstep 1\nready 1\nstep 1\nPASS\n", false},
		{"cut line", "ready 1\nstep 1\nste\nPASS\n", false},
		{"hole", "ready 1\nstep 1\n\x00\x00\x00step 2\nPASS\n", false},
		{"after the end", "ready 1\nstep 1\nPASS\nstep 2\n", false},
		{"no end", "ready 1\nstep 1\n", false},
		{"no start", "step 1\nPASS\n", false},
		{"failure", "ready 1\nstep 1\nFAIL why\n", false},
		{"nothing", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := checkOutput(slices.Collect(strings.Lines(c.text))); (err == nil) != c.ok {
				t.Errorf("checkOutput: %v, want ok=%v", err, c.ok)
			}
		})
	}
}
