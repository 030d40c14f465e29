// Package victims builds the self-checking programs that crtrace is tested on.
//
// A victim sets up one kind of state, prints "ready", works in numbered steps
// and compares its state at every step; tests/victims/victim.h has the protocol.
// A Builder compiles each one at most once into a directory of its own, so that
// nothing of one run is seen by the next. A Builder may be used by several
// goroutines; one mutex guards its table, and is held while a compiler runs.
package victims

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// ErrToolchain says that this machine can't compile a victim, as opposed to a
// victim that does not compile.
var ErrToolchain = errors.New("toolchain missing")

// Compiler is the way a victim is built.
type Compiler string

// The compilers.
const (
	GCC  Compiler = "gcc"
	Musl Compiler = "musl-gcc"
	Go   Compiler = "go"
)

// Victim is a program and what to call it with.
type Victim struct {
	Name     string   // unique
	Source   string   // file or directory below tests/victims
	Compiler Compiler // default GCC
	Flags    []string // for the compiler
	Args     []string // after TAMPER
	Tampers  int      // the damages that it knows, 1 to Tampers

	TTY bool // needs a terminal as its standard input

	// MayRefuse: crtrace may say that it can't checkpoint this one, as long as
	// it then leaves it alone.
	MayRefuse bool
}

var (
	threads = []string{"-pthread"}
	i386    = []string{"-m32", "-pthread", "-D_FILE_OFFSET_BITS=64"}
)

// All lists every victim that takes part in the runs over all victims.
var All = []Victim{
	{Name: "counter", Source: "counter.c", Flags: []string{"-static"}, Tampers: 3},
	{Name: "counter-dynamic", Source: "counter.c", Tampers: 3},
	{Name: "counter-musl", Source: "counter.c", Compiler: Musl, Flags: []string{"-static"}, Tampers: 3},
	{Name: "counter-i386", Source: "counter.c", Flags: []string{"-m32"}, Tampers: 3},
	{Name: "counter-i386-static", Source: "counter.c", Flags: []string{"-m32", "-static"}, Tampers: 3},
	{Name: "fpstate", Source: "fpstate.c", Flags: []string{"-mno-red-zone"}, Tampers: 6},
	{Name: "threads16", Source: "threads16.c", Flags: threads, Tampers: 5},
	{Name: "threads16-i386", Source: "threads16.c", Flags: []string{"-m32", "-pthread"}, Tampers: 5},
	{Name: "threads1000", Source: "threads1000.c", Flags: threads, Tampers: 2},
	{Name: "vmas20000", Source: "vmas20000.c", Tampers: 3},
	{Name: "maps", Source: "maps.c", Tampers: 11},
	{Name: "big", Source: "big.c", Tampers: 2},
	{Name: "guards", Source: "guards.c", Tampers: 2},
	{Name: "signals", Source: "signals.c", Flags: threads, Tampers: 7},
	{Name: "signals-i386", Source: "signals.c", Flags: i386, Tampers: 7},
	{Name: "sleeps", Source: "sleeps.c", Flags: threads, Tampers: 4},
	{Name: "sleeps-i386", Source: "sleeps.c", Flags: i386, Tampers: 4},
	{Name: "blocked", Source: "blocked.c", Flags: threads, Tampers: 3},
	{Name: "blocked-i386", Source: "blocked.c", Flags: i386, Tampers: 3},
	{Name: "semsleep", Source: "semsleep.c", Flags: threads, Tampers: 1},
	{Name: "timers", Source: "timers.c", Tampers: 7},
	{Name: "timers-i386", Source: "timers.c", Flags: i386, Tampers: 7},
	{Name: "tree", Source: "tree.c", Tampers: 8},
	{Name: "tree-i386", Source: "tree.c", Flags: []string{"-m32"}, Tampers: 8},
	{Name: "sharing", Source: "sharing.c", Flags: threads, Tampers: 8},
	{Name: "sharing-i386", Source: "sharing.c", Flags: i386, Tampers: 8},
	{Name: "cow", Source: "cow.c", Tampers: 4},
	{Name: "cow-i386", Source: "cow.c", Flags: []string{"-m32"}, Tampers: 4},
	{Name: "unixnames", Source: "unixnames.c", Tampers: 5},
	{Name: "unixnames-i386", Source: "unixnames.c", Flags: []string{"-m32"}, Tampers: 5},
	{Name: "rights", Source: "rights.c", Tampers: 14},
	{Name: "rights-i386", Source: "rights.c", Flags: i386, Tampers: 14},
	{Name: "rights-musl", Source: "rights.c", Compiler: Musl, Flags: []string{"-static"}, Tampers: 14},
	{Name: "mqueue", Source: "mqueue.c", Tampers: 6},
	{Name: "mqueue-i386", Source: "mqueue.c", Flags: i386, Tampers: 6},
	{Name: "sysv", Source: "sysv.c", Tampers: 14},
	{Name: "sysv-i386", Source: "sysv.c", Flags: i386, Tampers: 14},
	{Name: "tcp", Source: "tcp.c", Tampers: 7},
	{Name: "stream", Source: "stream.c", Tampers: 6},
	{Name: "tcp-i386", Source: "tcp.c", Flags: []string{"-m32"}, Tampers: 7},
	{Name: "datagrams", Source: "datagrams.c", Tampers: 5},
	{Name: "datagrams-i386", Source: "datagrams.c", Flags: []string{"-m32"}, Tampers: 5},
	{Name: "pty", Source: "pty.c", Tampers: 7},
	{Name: "pty-i386", Source: "pty.c", Flags: []string{"-m32"}, Tampers: 7},
	{Name: "tree-musl", Source: "tree.c", Compiler: Musl, Flags: []string{"-static"}, Tampers: 8},
	{Name: "files", Source: "files.c", Tampers: 4},
	{Name: "fds", Source: "fds.c", Tampers: 15},
	{Name: "fds-i386", Source: "fds.c", Flags: i386, Tampers: 15},
	{Name: "sockets", Source: "sockets.c", Tampers: 4},
	{Name: "sockets-i386", Source: "sockets.c", Flags: i386, Tampers: 4},
	{Name: "socketpairs", Source: "socketpairs.c", Tampers: 6, MayRefuse: true},
	{Name: "socketpairs-i386", Source: "socketpairs.c", Flags: i386, Tampers: 6, MayRefuse: true},
	{Name: "locks", Source: "locks.c", Tampers: 5},
	{Name: "locks-i386", Source: "locks.c", Flags: i386, Tampers: 5},
	{Name: "procattr", Source: "procattr.c", Tampers: 14},
	{Name: "procattr-deleted-cwd", Source: "procattr.c", Args: []string{"deleted"}, Tampers: 14},
	{Name: "rseq", Source: "rseq.c", Flags: threads, Tampers: 3},
	{Name: "goapp", Source: "goapp", Compiler: Go, Tampers: 3},
	{Name: "goapp-http", Source: "goapp", Compiler: Go, Args: []string{"http"}, Tampers: 3, MayRefuse: true},
}

// These have tests of their own. Sandbox is none: it runs other programs.
var (
	Sandbox  = Victim{Name: "sandbox", Source: "sandbox.c"}
	Terminal = Victim{Name: "terminal", Source: "terminal.c", Tampers: 2, TTY: true}
	Stopped  = Victim{Name: "stopped", Source: "stopped.c", Tampers: 1}
	Waiting  = Victim{Name: "waiting", Source: "waiting.c", Tampers: 1}
	Refused  = Victim{Name: "refused", Source: "refused.c"}
)

// ByName returns a victim of All.
func ByName(name string) (Victim, error) {
	for _, v := range All {
		if v.Name == name {
			return v, nil
		}
	}
	return Victim{}, fmt.Errorf("no victim is called %q", name)
}

// Builder compiles victims into a directory. Use NewBuilder.
type Builder struct {
	source, cache string

	mu    sync.Mutex
	built map[string]result // guarded by mu
}

type result struct {
	path string
	err  error
}

// NewBuilder returns a builder that reads sources from the directory source and
// writes programs into the directory cache. Both must exist.
func NewBuilder(source, cache string) (*Builder, error) {
	source, err := filepath.Abs(source)
	if err != nil {
		return nil, fmt.Errorf("victims in %s: %w", source, err)
	}
	return &Builder{source: source, cache: cache, built: map[string]result{}}, nil
}

// Build returns the path of the compiled victim. The error is ErrToolchain when
// the compiler, or its libraries for this kind of program, are not installed.
func (b *Builder) Build(v Victim) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	key := fmt.Sprint(v.Source, v.Compiler, v.Flags)
	r, ok := b.built[key]
	if !ok {
		r.path, r.err = b.compile(v)
		b.built[key] = r
	}
	return r.path, r.err
}

// compile runs the compiler once it is known to work for such programs at all:
// a source file that does not compile must fail the tests, not skip them.
func (b *Builder) compile(v Victim) (string, error) {
	out := filepath.Join(b.cache, v.Name)
	if v.Compiler == Go {
		cmd := exec.Command("go", "build", "-o", out, ".")
		cmd.Dir = filepath.Join(b.source, v.Source)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		return out, run(cmd)
	}
	compiler := v.Compiler
	if compiler == "" {
		compiler = GCC
	}
	if err := b.probe(compiler, v.Flags); err != nil {
		return "", fmt.Errorf("%w: %s %s: %w", ErrToolchain, compiler, strings.Join(v.Flags, " "), err)
	}
	args := append([]string{"-O2", "-Wall", "-Wextra", "-Werror", "-o", out, v.Source}, v.Flags...)
	cmd := exec.Command(string(compiler), args...)
	cmd.Dir = b.source
	return out, run(cmd)
}

// probe compiles the smallest program that needs the C library.
func (b *Builder) probe(c Compiler, flags []string) error {
	args := append([]string{"-x", "c", "-o", filepath.Join(b.cache, "probe"), "-"}, flags...)
	cmd := exec.Command(string(c), args...)
	cmd.Stdin = strings.NewReader("#include <unistd.h>\nint main(void) { return getpid() == 0; }\n")
	return run(cmd)
}

func run(cmd *exec.Cmd) error {
	text, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, text)
	}
	return nil
}
