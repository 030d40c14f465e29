package exitcode

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"testing"

	"github.com/crtrace/crtrace/restore"
	"github.com/crtrace/crtrace/snapshot"
	"github.com/crtrace/crtrace/snapshot/capture"
	"github.com/crtrace/crtrace/tracer"
)

func TestFrom(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("x"), 1},
		{os.ErrExist, 1},
		{Usagef("x %d", 1), 2},
		{&capture.UnsupportedError{}, 3},
		{&restore.RefusedError{}, 3},
		{&snapshot.CorruptError{}, 4},
		{&snapshot.VersionError{}, 4},
		{snapshot.ErrNotImage, 4},
		{&tracer.PermissionError{}, 5},
		{syscall.EPERM, 5},
		{&os.PathError{Op: "open", Path: "x", Err: syscall.EACCES}, 5},
		{tracer.ErrTaskGone, 6},
		{&tracer.PtraceError{Op: "PTRACE_SEIZE", Err: syscall.ESRCH}, 6},
		{With(Coordinator, errors.New("x")), 7},
		{context.Canceled, 130},
		{&Interrupted{syscall.SIGINT}, 130},
		{&Interrupted{syscall.SIGTERM}, 143},
		{With(Own, &capture.UnsupportedError{}), 125}, // the outermost number counts
	} {
		if got := From(tc.err); got != tc.want {
			t.Errorf("%v: %d, want %d", tc.err, got, tc.want)
		}
		if tc.err == nil {
			continue
		}
		if got := From(fmt.Errorf("checkpoint 4242: %w", tc.err)); got != tc.want {
			t.Errorf("wrapped %v: %d, want %d", tc.err, got, tc.want)
		}
	}
	if With(Own, nil) != nil {
		t.Error("no error became one")
	}
}

// TestTable: each number that From gives is in the table of the help texts.
func TestTable(t *testing.T) {
	known := map[string]bool{}
	for _, e := range Table {
		known[e.Code] = true
	}
	for _, code := range []int{OK, Failure, Usage, Unsupported, Image, Permission, Gone, Coordinator, 130} {
		if !known[strconv.Itoa(code)] {
			t.Errorf("status %d is not in the table", code)
		}
	}
}
