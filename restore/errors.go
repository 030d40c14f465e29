package restore

import (
	"errors"
	"strings"
)

// ErrIDs tells that the original ids could not be had. Another way to them may
// work: see PIDMode.
var ErrIDs = errors.New("the original ids could not be had")

// RefusedError tells what keeps an image from being restored here. Nothing was
// done.
type RefusedError struct {
	Problems []string
}

// Error implements error.
func (e *RefusedError) Error() string {
	if len(e.Problems) == 1 {
		return "can't be restored: " + e.Problems[0]
	}
	return "can't be restored; nothing was done:\n  " + strings.Join(e.Problems, "\n  ")
}
