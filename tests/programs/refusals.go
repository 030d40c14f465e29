package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
)

// unsupported is the exit status of a checkpoint that is refused.
const unsupported = 3

// refusals are programs that can't be brought back.
var refusals = []entry{
	{name: "gdb", packages: []string{"gdb"}, tools: []string{"/usr/bin/python3"}, source: "prog.py", refused: "debugger",
		run: []string{"gdb", "-nx", "-batch-silent", "-ex", "run", "--args", "/usr/bin/python3", "SOURCE", "STOP"}},
	{name: "strace", packages: []string{"strace"}, tools: []string{"/usr/bin/python3"}, source: "prog.py", refused: "debugger",
		run: []string{"strace", "-f", "-o", "strace.log", "/usr/bin/python3", "SOURCE", "STOP"}},
	{name: "io_uring", packages: []string{"gcc", "libc6-dev"}, source: "uring.c", refused: "io_uring",
		compile: []string{"gcc", "-O2", "-o", "OUT", "SOURCE"}, run: []string{"OUT", "STOP"}},
	{name: "outside-server", packages: []string{"python3"}, source: "client.py", refused: "outside",
		run: []string{"/usr/bin/python3", "-B", "SOURCE", "STOP", "PEER"}},
	{name: "chromium", packages: []string{"chromium"}, tools: []string{"chromium"}, large: true, ordinary: true, source: "chromium.py",
		refused: "seccomp", run: []string{"/usr/bin/python3", "-B", "SOURCE", "STOP"}},
}

// beRefused asks for checkpoints that must be refused without a trace, and
// sees the program go on to a good end.
func (l *life) beRefused() (err error) {
	before := sharedMemory()
	defer func() {
		err = errors.Join(err, l.cleanUp())
		removeNew(before)
	}()
	peer, err := serveEcho(l.path("peer"))
	if err != nil {
		return err
	}
	defer peer.Close()
	if err := l.launch(); err != nil {
		return err
	}
	for g := range *generations {
		from := l.progress()
		if err := l.refusal(l.path(fmt.Sprintf("image-%d", g))); err != nil {
			return err
		}
		if err := l.wait("the program goes on", func() bool { return l.progress() > from+1 }); err != nil {
			return err
		}
	}
	return l.finish()
}

// refusal is one checkpoint that must fail with the right status and reason,
// and leave nothing of an image.
func (l *life) refusal(image string) error {
	_, err := l.checkpoint(image)
	exit, ok := errors.AsType[*exec.ExitError](err)
	switch {
	case err == nil:
		return errors.New("the checkpoint was not refused")
	case !ok || exit.ExitCode() != unsupported:
		return fmt.Errorf("checkpoint: %w, want status %d", explained(err), unsupported)
	case !strings.Contains(string(exit.Stderr), l.entry.refused):
		return fmt.Errorf("checkpoint: %w: no word of %q", explained(err), l.entry.refused)
	}
	left, err := filepath.Glob(image + "*")
	if err == nil && len(left) > 0 {
		return fmt.Errorf("a refused checkpoint leaves %s", strings.Join(left, ", "))
	}
	return err
}

// serveEcho is a server that does not belong to the tree: it sends lines back.
func serveEcho(path string) (net.Listener, error) {
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // closed
			}
			go func() {
				defer conn.Close()
				lines := bufio.NewReader(conn)
				for {
					line, err := lines.ReadString('\n')
					if err != nil {
						return // the client has ended
					}
					if _, err := conn.Write([]byte(line)); err != nil {
						return // likewise
					}
				}
			}()
		}
	}()
	return listener, nil
}
