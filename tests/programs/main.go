// Command programs tries crtrace on programs of the real world: interpreters,
// virtual machines, numerical libraries, a database.
//
// Each program checks itself at every step, as the victims do. It is taken through
// three generations of checkpoint, SIGKILL and restore; then one line says what
// it cost. A program that is not installed is skipped with a reason; -install
// gets the Debian packages first. Programs run one after the other, because their
// process ids must be free when they come back.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

var (
	install     = flag.Bool("install", false, "install the Debian packages that are missing (root only)")
	binary      = flag.String("crtrace", "", "`FILE` to test instead of a fresh build")
	only        = flag.String("only", "", "comma-separated `NAMES` of programs")
	generations = flag.Int("generations", 3, "how many times each program dies")
	mode        = flag.String("pids", "auto", "`MODE` of restore --pids")
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
	dir, err := os.MkdirTemp("", "crtrace-programs-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if *binary == "" {
		*binary = filepath.Join(dir, "crtrace")
		build := exec.Command("go", "build", "-o", *binary, "./cmd/crtrace")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if text, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("build crtrace (run this at the top of the repository): %w\n%s", err, text)
		}
	}
	fmt.Printf("%-16s %-8s %13s %9s %11s %10s\n", "program", "result", "checkpoint ms", "pause ms", "restore ms", "image MB")
	failed := 0
	for _, e := range entries {
		if *only != "" && !strings.Contains(","+*only+",", ","+e.name+",") {
			continue
		}
		cost, err := try(e, filepath.Join(dir, e.name))
		switch {
		case errors.Is(err, errSkipped):
			fmt.Printf("%-16s %-8s %v\n", e.name, "skipped", err)
		case err != nil:
			failed++
			fmt.Printf("%-16s %-8s %v\n", e.name, "FAILED", err)
		default:
			fmt.Printf("%-16s %-8s %13.0f %9.1f %11.0f %10.1f\n", e.name, "ok", ms(cost.checkpoint), ms(cost.pause), ms(cost.restore), float64(cost.bytes)/1e6)
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d programs failed", failed)
	}
	return nil
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// try prepares one program and runs it.
func try(e entry, dir string) (cost, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return cost{}, err
	}
	if err := ensure(e); err != nil {
		return cost{}, err
	}
	source, err := filepath.Abs(filepath.Join("tests/programs/src", e.source))
	if err != nil {
		return cost{}, err
	}
	r := strings.NewReplacer("SOURCE", source, "OUT", filepath.Join(dir, "program"), "STOP", filepath.Join(dir, "stop"))
	if len(e.compile) > 0 {
		words := replaceAll(r, e.compile)
		if text, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
			return cost{}, fmt.Errorf("%s: %w\n%s", strings.Join(words, " "), err, text)
		}
	}
	return live(e, dir, replaceAll(r, e.run))
}

func replaceAll(r *strings.Replacer, words []string) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = r.Replace(w)
	}
	return out
}

// ensure finds the interpreter or compiler, and the packages if they are known.
func ensure(e entry) error {
	missing := missingPackages(e)
	if len(missing) > 0 && *install {
		cmd := exec.Command("apt-get", append([]string{"install", "-y", "-qq", "--no-install-recommends"}, missing...)...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if text, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("apt-get install %s: %w\n%s", strings.Join(missing, " "), err, text)
		}
	}
	tool := e.run[0]
	if len(e.compile) > 0 {
		tool = e.compile[0]
	}
	if _, err := exec.LookPath(tool); err != nil {
		return fmt.Errorf("%w: %s is not installed (package %s)", errSkipped, tool, e.packages[0])
	}
	if e.name == "numpy" && len(missing) > 0 && !*install {
		return fmt.Errorf("%w: package %s is not installed", errSkipped, strings.Join(missing, ", "))
	}
	return nil
}

// missingPackages asks dpkg; a tool that came another way counts as installed.
func missingPackages(e entry) []string {
	tool := e.run[0]
	if len(e.compile) > 0 {
		tool = e.compile[0]
	}
	if _, err := exec.LookPath(tool); err == nil && e.name != "numpy" {
		return nil
	}
	var missing []string
	for _, p := range e.packages {
		text, err := exec.Command("dpkg-query", "-W", "-f", "${Status}", p).Output()
		if err != nil || !strings.Contains(string(text), "ok installed") {
			missing = append(missing, p)
		}
	}
	return missing
}

// sizeOf sums the files of an image.
func sizeOf(dir string) (int64, error) {
	var total int64
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			total += info.Size()
		}
		return err
	})
	return total, err
}
