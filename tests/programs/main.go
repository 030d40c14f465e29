// Command programs tries crtrace on programs of the real world: interpreters,
// virtual machines, numerical libraries, and trees of processes: shells, builds,
// servers with their clients, terminals, MPI.
//
// Each program checks itself at every step, as the victims do. It is taken through
// three generations of checkpoint, SIGKILL and restore; then one line says how
// many processes and threads it had and what it cost. Programs that can't be brought
// back must be refused, go on unharmed and end well. A program that is not
// installed is skipped with a reason; -install gets the Debian packages first.
// Programs run one after the other, because their process ids must be free when
// they come back. Everything that they leave, files and processes, is removed.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

var (
	install     = flag.Bool("install", false, "install the Debian packages that are missing (root only)")
	binary      = flag.String("crtrace", "", "`FILE` to test instead of a fresh build")
	only        = flag.String("only", "", "comma-separated `NAMES` of programs")
	generations = flag.Int("generations", 3, "how many times each program dies")
	rounds      = flag.Int("rounds", 1, "how many times to go through the list")
	mode        = flag.String("pids", "auto", "`MODE` of restore --pids")
	keep        = flag.Bool("keep", false, "leave the directories of programs that failed")
)

// errSkipped says that a program is not there to be tried.
var errSkipped = errors.New("skipped")

func main() {
	flag.Parse()
	closeInherited()
	if err := runAll(); err != nil {
		fmt.Fprintln(os.Stderr, "programs:", err)
		os.Exit(1)
	}
}

// closeInherited keeps pipes of the caller, beyond the standard streams, away from
// the programs: a pipe to a stranger can't be checkpointed.
func closeInherited() {
	entries, _ := os.ReadDir("/proc/self/fd") // none: nothing to close
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			syscall.CloseOnExec(fd)
		}
	}
}

func runAll() error {
	// Whoever loses all its parents comes to us, so that nobody is left behind.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become a subreaper: %w", err)
	}
	dir, err := os.MkdirTemp("", "crtrace-programs-")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(dir) }() // with -keep it is not empty
	cleanUpOnSignal(dir)
	if *binary == "" {
		*binary = filepath.Join(dir, "crtrace")
		defer func() { _ = os.Remove(*binary) }() // the directory tells
		build := exec.Command("go", "build", "-o", *binary, "./cmd/crtrace")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if text, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("build crtrace (run this at the top of the repository): %w\n%s", err, text)
		}
	}
	if *binary, err = filepath.Abs(*binary); err != nil {
		return err
	}
	failed, tried := 0, 0
	for round := range *rounds {
		if *rounds > 1 {
			fmt.Printf("round %d of %d\n", round+1, *rounds)
		}
		fmt.Printf("%-16s %-8s %9s %8s %13s %9s %11s %9s\n",
			"program", "result", "processes", "threads", "checkpoint ms", "pause ms", "restore ms", "image MB")
		for _, e := range chosen() {
			tried++
			if !report(e, dir) {
				failed++
			}
		}
	}
	switch {
	case failed > 0:
		return fmt.Errorf("%d of %d programs failed", failed, tried)
	case tried == 0:
		return fmt.Errorf("no program is called %s", *only)
	}
	return nil
}

// cleanUpOnSignal leaves nothing behind when the user has seen enough.
func cleanUpOnSignal(dir string) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		s := <-signals
		status := 1
		if n, ok := s.(syscall.Signal); ok {
			status = 128 + int(n)
		}
		// Whoever is orphaned by this comes to us.
		err := errors.Join(killAll(os.Getpid()), killStrays(), os.RemoveAll(dir))
		if err != nil {
			fmt.Fprintln(os.Stderr, "programs:", err)
		}
		os.Exit(status)
	}()
}

// chosen are the programs that -only names, in the order of the lists.
func chosen() []entry {
	var some []entry
	for _, list := range [][]entry{entries, trees, refusals} {
		for _, e := range list {
			if *only == "" || strings.Contains(","+*only+",", ","+e.name+",") {
				some = append(some, e)
			}
		}
	}
	return some
}

// report tries a program and prints its line. It tells whether all is well.
func report(e entry, top string) bool {
	dir := filepath.Join(top, e.name)
	cost, err := try(e, dir)
	if err == nil || errors.Is(err, errSkipped) || !*keep {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	switch {
	case errors.Is(err, errSkipped):
		fmt.Printf("%-16s %-8s %v\n", e.name, "skipped", err)
	case err != nil:
		fmt.Printf("%-16s %-8s %v\n", e.name, "FAILED", err)
		return false
	case e.refused != "":
		fmt.Printf("%-16s %-8s %v\n", e.name, "ok", "refused: "+e.refused)
	default:
		fmt.Printf("%-16s %-8s %9d %8d %13.0f %9.1f %11.0f %9.1f\n", e.name, "ok", cost.processes, cost.threads,
			ms(cost.checkpoint), ms(cost.pause), ms(cost.restore), float64(cost.bytes)/1e6)
	}
	return true
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// try prepares one program and runs it.
func try(e entry, dir string) (cost, error) {
	if err := ensure(e); err != nil {
		return cost{}, err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return cost{}, err
	}
	sources, err := filepath.Abs("tests/programs/src")
	if err != nil {
		return cost{}, err
	}
	l := &life{entry: e, dir: dir}
	l.words = strings.NewReplacer("SOURCE", filepath.Join(sources, e.source), "SRC", sources,
		"OUT", l.path("program"), "STOP", l.path("stop"), "PEER", l.path("peer"))
	if len(e.compile) > 0 {
		words := replaceAll(l.words, e.compile)
		if text, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
			return cost{}, fmt.Errorf("%s: %w\n%s", strings.Join(words, " "), err, text)
		}
	}
	if e.refused != "" {
		return cost{}, l.beRefused()
	}
	return l.live()
}

func replaceAll(r *strings.Replacer, words []string) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = r.Replace(w)
	}
	return out
}
