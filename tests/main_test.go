// Package tests runs crtrace on real programs.
//
// Each test starts self-checking victims, checkpoints them, kills them, restores
// them, and looks at what they print: the joined output must be that of one
// uninterrupted run. Nothing waits by sleeping: [eventually] looks at a condition
// until a deadline. Tests run one after the other, because a restore on the host
// needs the original process ids to be free.
package tests

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/crtrace/crtrace/tests/internal/victims"
)

// What TestMain makes for all tests.
var (
	crtraceBinary string
	builder       *victims.Builder
)

// waitLimit bounds every wait for something that must happen.
const waitLimit = 60 * time.Second

func TestMain(m *testing.M) {
	flag.Parse()
	closeInherited()
	status, err := runAll(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "tests:", err)
		status = 1
	}
	os.Exit(status)
}

// closeInherited keeps what this process has inherited beyond the standard
// streams, such as a pipe of the terminal or of a job runner, away from the
// programs under test: a pipe to a stranger can't be checkpointed.
func closeInherited() {
	entries, _ := os.ReadDir("/proc/self/fd") // none: nothing to close
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			syscall.CloseOnExec(fd)
		}
	}
}

// runAll builds crtrace into a directory that other users can reach too.
func runAll(m *testing.M) (int, error) {
	dir, err := os.MkdirTemp("", "crtrace-tests-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		return 1, err
	}
	if err := buildCrtrace(dir); err != nil {
		return 1, err
	}
	if builder, err = victims.NewBuilder("victims", dir); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

// buildCrtrace sets crtraceBinary: to $CRTRACE_TEST_BINARY, or to a fresh build.
func buildCrtrace(dir string) error {
	if crtraceBinary = os.Getenv("CRTRACE_TEST_BINARY"); crtraceBinary != "" {
		return nil
	}
	crtraceBinary = filepath.Join(dir, "crtrace")
	build := exec.Command("go", "build", "-o", crtraceBinary, "../cmd/crtrace")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build crtrace: %w\n%s", err, text)
	}
	return nil
}

// A need is a reason for which a test may be skipped.
type need string

const (
	needKernel     need = "the kernel does not offer it"
	needSecondUser need = "only root can act as another user"
	needYama       need = "kernel.yama.ptrace_scope lets only ancestors trace"
	needUserNS     need = "user namespaces are not allowed"
	needToolchain  need = "toolchain missing"
)

// allowedInStrict are the reasons that count even with CRTRACE_TEST_STRICT=1:
// what the machine's administrator decides. A missing compiler does not.
var allowedInStrict = map[need]bool{needKernel: true, needSecondUser: true, needYama: true, needUserNS: true}

// skip ends a test that can't run here; in strict mode it fails unless the
// reason is on the list.
func skip(t *testing.T, why need, detail string) {
	t.Helper()
	if os.Getenv("CRTRACE_TEST_STRICT") == "1" && !allowedInStrict[why] {
		t.Fatalf("must run here: %s: %s", why, detail)
	}
	t.Skipf("%s: %s", why, detail)
}

// eventually waits until condition holds.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.NewTimer(waitLimit)
	defer deadline.Stop()
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	for !condition() {
		select {
		case <-deadline.C:
			t.Fatalf("%s: not within %v", what, waitLimit)
		case <-ticker.C:
		}
	}
}

// build returns the path of a compiled victim.
func build(t *testing.T, v victims.Victim) string {
	t.Helper()
	path, err := builder.Build(v)
	if isToolchain(err) {
		skip(t, needToolchain, firstLine(err.Error()))
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
