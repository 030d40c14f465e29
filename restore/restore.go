// Package restore rebuilds a process tree from an image.
//
// MakePlan decides everything that can be decided without touching the kernel;
// Run carries the plan out. All processes are traced with PTRACE_O_EXITKILL
// until the last step, so that a restore that fails leaves nothing running.
package restore

import (
	"log/slog"
	"os"
	"time"

	"github.com/crtrace/crtrace/snapshot"
	"github.com/crtrace/crtrace/tracer"
)

// PIDMode says where the restored processes get their ids.
type PIDMode string

// The ways to the original ids.
const (
	PIDAuto      PIDMode = "auto"      // host if that is quick, else namespace, else host however long it takes
	PIDHost      PIDMode = "host"      // the original ids on this host
	PIDNamespace PIDMode = "namespace" // the original ids in a pid namespace of their own
	PIDAny       PIDMode = "any"       // whatever ids come
)

// Options say how a tree is restored.
type Options struct {
	PIDs    PIDMode
	Stdio   [3]*os.File        // what terminals and streams that led out of the tree are bound to
	TailDir string             // where the cut tails of files are saved
	Files   snapshot.FileRules // they go before those of the image
	Moves   snapshot.Moves     // directories that lie elsewhere now
	// Cwd becomes the working directory of the root, and of whoever was in the
	// same one. Empty: it stays.
	Cwd string
	Log *slog.Logger // nil: nothing is logged
	// Progress is told what a restore waits for, when it takes long. It may be nil.
	Progress func(what string)
	// Inside: this process is the init of a pid namespace that was made for the
	// restore. The program must lose the capabilities that this process has
	// there.
	Inside bool
	// RedirectVDSO treats the vdso as that of another kernel. For tests.
	RedirectVDSO bool
	// Ready is called with the root's id when everything is built, before anything
	// runs. Its error ends the restore. It may be nil.
	Ready func(root int) error
	// Sleeps is told when interrupted calls end, for later checkpoints by this
	// process. It may be nil.
	Sleeps *tracer.Sleeps
}

// Tree is a restored process tree that runs.
type Tree struct {
	Root     int           // pid of the root process
	Reach    time.Duration // time to reach the original ids
	Build    time.Duration // time for everything else
	Warnings []string      // what is not as it was
}
