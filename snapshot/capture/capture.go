// Package capture turns a stopped process tree into an image.
//
// In a nutshell: a survey reads /proc of the whole tree and lists everything that
// could not be restored, before anything is touched. Then the tracer freezes the
// tree, process by process, until a look at it finds nobody new: that is the
// cut. What processes can share (descriptions, memory, files) is collected once
// for all of them; then each process gives its own state and pages. The tree is
// let go, and the image is committed. One goroutine, locked to its thread, does
// all of it.
package capture

import (
	"context"
	"log/slog"
	"time"

	"github.com/crtrace/crtrace/snapshot"
	"github.com/crtrace/crtrace/tracer"
)

// Options say how a checkpoint is taken. The zero value needs only Dir.
type Options struct {
	Dir       string // the image's directory; must not exist, its parent must
	Kill      bool   // end the program with SIGKILL once the image is committed
	SaveFiles bool   // keep the content of every file that is open for writing in the image
	// Files are rules for single files; they go before SaveFiles.
	Files snapshot.FileRules
	// TCPClose accepts TCP connections that lead out of the tree: they are reset on
	// restore. Otherwise they are refused.
	TCPClose bool
	// Reaper is the process whose children are orphans of the tree: a subreaper
	// that stands for it, and that started it in its own session and process
	// group. 0: the tree has none, and what was orphaned is not part of it.
	Reaper int
	Tool   string       // version of crtrace, for the manifest
	Log    *slog.Logger // nil: nothing is logged
	// Sleeps remembers, from one checkpoint of a program to the next, when its
	// interrupted calls end. nil: a call that was interrupted by an earlier
	// checkpoint counts its time-out from there.
	Sleeps *tracer.Sleeps
}

// Result tells what a checkpoint took and cost.
type Result struct {
	Dir       string        `json:"dir"`
	Processes int           `json:"processes"`
	Threads   int           `json:"threads"`
	Bytes     int64         `json:"bytes"`    // size of the image
	Pause     time.Duration `json:"pause_ns"` // how long the tree was frozen
	Total     time.Duration `json:"total_ns"`
	Warnings  []string      `json:"warnings,omitempty"`
}

// Problem is one thing that stands in the way of a checkpoint.
type Problem struct {
	PID    int    `json:"pid"`
	Object string `json:"object"` // "descriptor 5 (socket:[123])"
	Why    string `json:"why"`
	Hint   string `json:"hint,omitempty"` // what the user can do
}

// UnsupportedError is a refusal: the program was not touched.
type UnsupportedError struct {
	Problems []Problem
}

// Error implements error. It lists all problems, a line each.
func (e *UnsupportedError) Error() string { return formatProblems(e.Problems) }

// Checkpoint takes an image of the process tree below pid into o.Dir.
//
// When it returns an error there is no image, and the program runs on as if
// nothing had happened. Cancelling ctx rolls back in the same way. Errors are
// *UnsupportedError, *tracer.PermissionError, tracer.ErrTaskGone or name the
// file or call that failed.
func Checkpoint(ctx context.Context, pid int, o Options) (*Result, error) {
	return checkpoint(ctx, pid, o)
}
