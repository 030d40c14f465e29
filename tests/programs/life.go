package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// waitLimit bounds every wait for something that must happen.
const waitLimit = 2 * time.Minute

// cost is the mean over the generations; processes and threads are the most that
// there were.
type cost struct {
	processes, threads         int
	checkpoint, pause, restore time.Duration
	bytes                      int64
}

// life is a running program with the process that stands for it.
type life struct {
	entry  entry
	dir    string
	words  *strings.Replacer // for command lines
	root   int               // pid
	inner  int               // the pid that the root has in its own namespace, always
	parent *exec.Cmd         // launch or restore; nil when it has ended
	ended  chan struct{}     // closed then
	err    error             // how; read after ended
}

// live takes a program through all generations.
func (l *life) live() (total cost, err error) {
	before := sharedMemory()
	defer func() {
		err = errors.Join(err, l.cleanUp())
		removeNew(before)
	}()
	if err := l.launch(); err != nil {
		return total, err
	}
	for g := range *generations {
		if err := l.generation(g, &total); err != nil {
			return total, fmt.Errorf("generation %d: %w", g+1, err)
		}
	}
	n := time.Duration(max(1, *generations))
	total.checkpoint, total.pause, total.restore, total.bytes = total.checkpoint/n, total.pause/n, total.restore/n, total.bytes/int64(n)
	return total, l.finish()
}

func (l *life) path(name string) string { return filepath.Join(l.dir, name) }

// read returns the text of a file in the directory, "" if it is not there yet.
func (l *life) read(name string) string {
	text, _ := os.ReadFile(l.path(name)) // not there: nothing was said
	return string(text)
}

// begin starts launch or restore.
func (l *life) begin(cmd *exec.Cmd) error {
	own, err := os.OpenFile(l.path("crtrace.err"), os.O_WRONLY|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer own.Close()
	cmd.Dir, cmd.Stderr = l.dir, own
	if err := cmd.Start(); err != nil {
		return err
	}
	l.parent, l.ended = cmd, make(chan struct{})
	ended := l.ended
	go func() {
		l.err = cmd.Wait()
		close(ended)
	}()
	return nil
}

func (l *life) launch() error {
	out, err := os.OpenFile(l.path("out"), os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	// A shell points the program's stderr away, so that only crtrace's own comes to us.
	words := append([]string{"launch", "sh", "-c", `exec "$@" 2>>err`, "sh"}, replaceAll(l.words, l.entry.run)...)
	cmd := exec.Command(*binary, words...)
	// What programs write beside their results stays in the directory.
	cmd.Env = append(os.Environ(), "HOME="+l.dir, "TMPDIR="+l.dir)
	cmd.Stdout = out
	if err := l.begin(cmd); err != nil {
		return err
	}
	// The first child is the root; orphans may come to launch later.
	err = l.wait("the program starts", func() bool {
		pids := children(cmd.Process.Pid)
		if len(pids) > 0 {
			l.root, l.inner = pids[0], innermost(pids[0])
		}
		return len(pids) > 0
	})
	if err != nil {
		return err
	}
	return l.wait("the program begins to work", func() bool { return l.progress() >= 5 })
}

// generation is a checkpoint, a death and a return.
func (l *life) generation(g int, sum *cost) error {
	image := l.path(fmt.Sprintf("image-%d", g))
	from := l.progress()
	begun := time.Now()
	text, err := l.checkpoint(image)
	if err != nil {
		return fmt.Errorf("checkpoint: %w", explained(err))
	}
	sum.checkpoint += time.Since(begun)
	var result struct {
		Processes int           `json:"processes"`
		Threads   int           `json:"threads"`
		Pause     time.Duration `json:"pause_ns"`
	}
	if err := json.Unmarshal(text, &result); err != nil {
		return fmt.Errorf("checkpoint: %w in %q", err, text)
	}
	sum.processes, sum.threads = max(sum.processes, result.Processes), max(sum.threads, result.Threads)
	sum.pause += result.Pause
	size, err := sizeOf(image)
	if err != nil {
		return err
	}
	sum.bytes += size
	if err := l.kill(from); err != nil {
		return err
	}
	return l.restore(image, sum)
}

// checkpoint returns the result in JSON.
func (l *life) checkpoint(image string) ([]byte, error) {
	args := []string{"checkpoint", "--quiet", "--json", "--pid", strconv.Itoa(l.root), "-o", image}
	return exec.Command(*binary, append(args, l.entry.flags...)...).Output()
}

func explained(err error) error {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(exit.Stderr))
	}
	return err
}

// killed tells whether the program ends with its checkpoint. Programs that
// overwrite and remove their files need that: what they do to them afterwards
// is not undone.
func (e entry) killed() bool { return slices.Contains(e.flags, "--kill") }

// kill ends the program, after it has gone on for a while, and whoever of it is left.
func (l *life) kill(from int) error {
	if !l.entry.killed() {
		if err := l.wait("the program goes on", func() bool { return l.progress() > from }); err != nil {
			return err
		}
		if err := killAll(l.parent.Process.Pid); err != nil {
			return err
		}
	}
	select {
	case <-l.ended:
		l.parent = nil
	case <-time.After(waitLimit):
		return errors.New("the parent of the killed program does not end")
	}
	return killStrays()
}

// restore brings the program back and waits until it has done more than before
// its death.
func (l *life) restore(image string, sum *cost) error {
	reached, begun := l.progress(), time.Now()
	if err := l.begin(exec.Command(*binary, "restore", "--quiet", "--pids="+*mode, image)); err != nil {
		return err
	}
	err := l.wait("the program is restored", l.restored)
	sum.restore += time.Since(begun)
	if err != nil {
		return err
	}
	return l.wait("the restored program overtakes itself", func() bool { return l.progress() > reached })
}

// restored looks for the root, which is traced until all are let go.
func (l *life) restored() bool {
	all := descendants(l.parent.Process.Pid)
	i := slices.IndexFunc(all, func(pid int) bool { return innermost(pid) == l.inner })
	if *mode == "any" { // the first child
		i = min(len(all), 1) - 1
	}
	if i < 0 || field(all[i], "TracerPid") != "0" {
		return false
	}
	l.root = all[i]
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", l.root))
	return err == nil && exe != *binary
}

// finish lets the program come to its end and checks the whole output.
func (l *life) finish() error {
	if err := os.WriteFile(l.path("stop"), nil, 0o600); err != nil {
		return err
	}
	select {
	case <-l.ended:
		l.parent = nil
		if l.err != nil {
			return fmt.Errorf("the program ended with %w: %s", l.err, l.complaint())
		}
	case <-time.After(waitLimit):
		return errors.New("the program does not end")
	}
	if l.entry.check != nil {
		return l.entry.check(l)
	}
	return checkSteps(l.read("out"))
}

// wait looks at a condition until it holds, the program ends, or time is up.
func (l *life) wait(what string, condition func() bool) error {
	deadline := time.NewTimer(waitLimit)
	defer deadline.Stop()
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	for !condition() {
		select {
		case <-l.ended:
			l.parent = nil
			return errors.Join(fmt.Errorf("%s: it ended: %s", what, l.complaint()), l.err)
		case <-deadline.C:
			return fmt.Errorf("%s: not within %v: %s", what, waitLimit, l.complaint())
		case <-ticker.C:
		}
	}
	return nil
}

// complaint is what crtrace and the program have said last.
func (l *life) complaint() string {
	var lines []string
	for _, name := range []string{"err", "crtrace.err"} {
		said := strings.Split(strings.TrimSpace(l.read(name)), "\n")
		lines = append(lines, said[max(0, len(said)-3):]...)
	}
	return strings.Join(lines, "; ")
}

func (l *life) progress() int {
	if l.entry.progress != nil {
		return l.entry.progress(l)
	}
	return lastStep(l.read("out"))
}

func (l *life) cleanUp() error {
	if l.parent != nil {
		_ = l.parent.Process.Kill() // may be gone
		<-l.ended
		l.parent = nil
	}
	return killStrays()
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
