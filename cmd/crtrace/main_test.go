package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"github.com/crtrace/crtrace/cmd/internal/cli"
)

// binary is a crtrace built as it is shipped: with symbols, which tests lack.
var binary string

func TestMain(m *testing.M) {
	// The names under which this binary is started again.
	if len(os.Args) > 2 && os.Args[1] == "exec-blocked" {
		execBlocked(os.Args[2:])
	}
	testscript.Main(cleanly{m}, map[string]func(){
		"crtrace": func() { os.Exit(cli.Main(os.Args[1:])) },
	})
}

// cleanly runs the tests and removes what build has made.
type cleanly struct{ m *testing.M }

// Run implements testscript.TestingM.
func (c cleanly) Run() int {
	code := c.m.Run()
	if binary != "" {
		_ = os.RemoveAll(filepath.Dir(binary))
	}
	return code
}

// execBlocked executes a program with SIGUSR1 and SIGCHLD blocked.
func execBlocked(argv []string) {
	runtime.LockOSThread() // the mask of this thread is the one that survives
	var set unix.Sigset_t
	set.Val[0] = 1<<(unix.SIGUSR1-1) | 1<<(unix.SIGCHLD-1)
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &set, nil); err != nil {
		panic(err)
	}
	panic(unix.Exec(argv[0], argv, os.Environ()))
}

// build builds crtrace once.
func build(t *testing.T) string {
	t.Helper()
	if binary == "" {
		dir, err := os.MkdirTemp("", "crtrace-cli-test")
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "crtrace")
		if out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput(); err != nil {
			t.Fatalf("build crtrace: %v\n%s", err, out)
		}
		binary = path
	}
	return binary
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			// A directory with a short name, for sockets.
			dir, err := os.MkdirTemp("", "rt")
			if err != nil {
				return err
			}
			e.Defer(func() { _ = os.RemoveAll(dir) })
			e.Setenv("XDG_RUNTIME_DIR", dir)
			return nil
		},
	})
}
