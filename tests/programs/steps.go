package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// lastStep is the number of the last whole line "step N" of an output.
func lastStep(output string) int {
	at := strings.LastIndex(output, "step ")
	if at < 0 {
		return 0
	}
	number, _, whole := strings.Cut(output[at+5:], "\n")
	n, err := strconv.Atoi(strings.TrimSpace(number))
	if err != nil || !whole {
		return 0
	}
	return n
}

// checkSteps wants "ready", every step once and in order, and "PASS".
func checkSteps(output string) error {
	want := 0
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		switch {
		case want == 0 && line == "ready", line == "step "+strconv.Itoa(want) && want > 0:
			want++
		case line == "PASS" && want > 1:
			return nil
		default:
			return fmt.Errorf("the output says %q, want step %d", line, want)
		}
	}
	return errors.New("the output does not end with PASS")
}
