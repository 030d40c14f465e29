package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// waitLimit bounds every wait for something that must happen.
const waitLimit = 2 * time.Minute

// cost is the mean over the generations.
type cost struct {
	checkpoint, pause, restore time.Duration
	bytes                      int64
}

// life is a running program with the process that stands for it.
type life struct {
	dir    string
	root   int // pid
	parent *exec.Cmd
	stderr bytes.Buffer
	ended  chan struct{} // closed when the parent has ended
	err    error         // how; read after ended
}

// live takes a program through all generations.
func live(e entry, dir string, words []string) (cost, error) {
	l := &life{dir: dir}
	defer l.cleanUp()
	var total cost
	if err := l.launch(words); err != nil {
		return total, err
	}
	for g := range *generations {
		if err := l.generation(e, g, &total); err != nil {
			return total, fmt.Errorf("generation %d: %w", g+1, err)
		}
	}
	n := time.Duration(*generations)
	total.checkpoint, total.pause, total.restore, total.bytes = total.checkpoint/n, total.pause/n, total.restore/n, total.bytes/int64(n)
	return total, l.finish()
}

func (l *life) path(name string) string { return filepath.Join(l.dir, name) }

// begin starts launch or restore.
func (l *life) begin(cmd *exec.Cmd) error {
	l.stderr.Reset()
	cmd.Stderr, cmd.WaitDelay = &l.stderr, waitLimit
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

func (l *life) launch(words []string) error {
	out, err := os.OpenFile(l.path("out"), os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	errFile, err := os.OpenFile(l.path("err"), os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer errFile.Close()
	// A shell points the program's stderr away, so that only crtrace's own comes here.
	cmd := exec.Command(*binary, append([]string{"launch", "sh", "-c", `exec "$@" 2>>err`, "sh"}, words...)...)
	cmd.Dir, cmd.Stdout = l.dir, out
	if err := l.begin(cmd); err != nil {
		return err
	}
	if err := l.wait("step 5", func() bool { return l.lastStep() >= 5 }); err != nil {
		return err
	}
	pids := children(cmd.Process.Pid)
	if len(pids) != 1 {
		return fmt.Errorf("launch has %d children", len(pids))
	}
	l.root = pids[0]
	return nil
}

// generation is a checkpoint, a death and a return.
func (l *life) generation(e entry, g int, sum *cost) error {
	image := l.path(fmt.Sprintf("image-%d", g))
	begun := time.Now()
	args := append([]string{"checkpoint", "--quiet", "--json", "--pid", strconv.Itoa(l.root), "-o", image}, e.flags...)
	text, err := exec.Command(*binary, args...).Output()
	if err != nil {
		return fmt.Errorf("checkpoint: %w", explained(err))
	}
	sum.checkpoint += time.Since(begun)
	var result struct {
		Pause time.Duration `json:"pause_ns"`
	}
	if err := json.Unmarshal(text, &result); err != nil {
		return fmt.Errorf("checkpoint: %w in %q", err, text)
	}
	sum.pause += result.Pause
	size, err := sizeOf(image)
	if err != nil {
		return err
	}
	sum.bytes += size
	from := l.lastStep()
	if err := l.wait("the program goes on", func() bool { return l.lastStep() > from }); err != nil {
		return err
	}
	if err := l.kill(); err != nil {
		return err
	}
	return l.restore(image, sum)
}

func explained(err error) error {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(exit.Stderr))
	}
	return err
}

func (l *life) kill() error {
	pids := append(descendants(l.root), l.root)
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	select {
	case <-l.ended:
		l.parent = nil
		return nil
	case <-time.After(waitLimit):
		return errors.New("the parent of the killed program does not end")
	}
}

func (l *life) restore(image string, sum *cost) error {
	reached, begun := l.lastStep(), time.Now()
	cmd := exec.Command(*binary, "restore", "--quiet", "--pids="+*mode, image)
	cmd.Dir = l.dir
	if err := l.begin(cmd); err != nil {
		return err
	}
	err := l.wait("the restored program runs", func() bool {
		pids := children(cmd.Process.Pid)
		if len(pids) == 1 && traced(pids[0]) == "0" {
			l.root = pids[0]
		}
		return len(pids) == 1 && l.root == pids[0] && l.lastStep() != reached
	})
	sum.restore += time.Since(begun)
	if err != nil {
		return err
	}
	return l.wait("the restored program overtakes itself", func() bool { return l.lastStep() > reached })
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
	want := 0
	for line := range strings.Lines(l.output()) {
		line = strings.TrimSpace(line)
		switch {
		case want == 0 && line == "ready", line == "step "+strconv.Itoa(want) && want > 0:
			want++
		case line == "PASS" && want > 1:
			return nil
		default:
			return fmt.Errorf("the output says %q, want step %d", line, want)
		}
	}
	return errors.New("the output does not end with PASS")
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
			return fmt.Errorf("%s: not within %v", what, waitLimit)
		case <-ticker.C:
		}
	}
	return nil
}

// complaint is what crtrace and the program have said last.
func (l *life) complaint() string {
	text, _ := os.ReadFile(l.path("err")) // best effort
	lines := strings.Split(strings.TrimSpace(string(text)+l.stderr.String()), "\n")
	return strings.Join(lines[max(0, len(lines)-3):], "; ")
}

func (l *life) output() string {
	text, _ := os.ReadFile(l.path("out")) // not there yet: nothing was said
	return string(text)
}

func (l *life) lastStep() int {
	text := l.output()
	at := strings.LastIndex(text, "step ")
	if at < 0 {
		return 0
	}
	number, _, whole := strings.Cut(text[at+5:], "\n")
	n, err := strconv.Atoi(number)
	if err != nil || !whole {
		return 0
	}
	return n
}

func (l *life) cleanUp() {
	if l.parent == nil {
		return
	}
	for _, pid := range descendants(l.parent.Process.Pid) {
		_ = syscall.Kill(pid, syscall.SIGKILL) // may be gone
	}
	_ = l.parent.Process.Kill() // may be gone
	<-l.ended
}

// children returns the children of all threads of a process.
func children(pid int) []int {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid)) // the pattern is well-formed
	var pids []int
	for _, f := range files {
		text, _ := os.ReadFile(f) // gone: no children
		for word := range strings.FieldsSeq(string(text)) {
			if n, err := strconv.Atoi(word); err == nil {
				pids = append(pids, n)
			}
		}
	}
	return pids
}

func descendants(pid int) []int {
	var all []int
	for _, c := range children(pid) {
		all = append(append(all, c), descendants(c)...)
	}
	return all
}

// traced returns the pid of the tracer as text: "0" without, "" without process.
func traced(pid int) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)) // gone: no text
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "TracerPid:"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
