package restore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/crtrace/crtrace/snapshot"
	"github.com/crtrace/crtrace/tracer"
	"golang.org/x/sys/unix"
)

// process is one process that is being rebuilt.
type process struct {
	run     *run
	broker  *broker
	image   *snapshot.Process
	stub    *tracer.Stub
	threads []*tracer.StubThread // as image.Threads

	memory bool     // its address space has its areas and pages
	origin *process // the parent that it was forked from without an execve; nil: it has executed its program

	timeouts []uint64 // free places of time-outs, nil before they were looked for
	dups     []dup    // moves of descriptors that are still to be made
}

// dup is the move of a descriptor from its transfer number to its final one.
type dup struct {
	from int
	to   snapshot.FD
}

// build makes everything in the process but what must come last.
func (p *process) build(ctx context.Context) error {
	steps := []struct {
		what string
		do   func(context.Context) error
	}{
		{"address space", p.buildMemory},
		{"descriptors", func(context.Context) error { return p.placeDescriptors() }},
		{"attributes", func(context.Context) error { return p.setAttributes() }},
		{"thread attributes", func(context.Context) error { return p.setThreadAttributes() }},
		{"signal actions", func(context.Context) error { return p.setActions() }},
	}
	for _, s := range steps {
		if err := ctx.Err(); err != nil {
			return err
		}
		began := time.Now()
		if err := s.do(ctx); err != nil {
			return fmt.Errorf("process %d: %s: %w", p.image.PID, s.what, err)
		}
		p.run.log.Debug("built", "pid", p.image.PID, "what", s.what, "took", time.Since(began))
	}
	return nil
}

// execute gives the process its executable. Running the original one makes
// /proc/PID/exe right and costs 25 us more than a stub.
func (p *process) execute() error {
	area, err := p.freeAddress(tracer.AreaLen)
	if err != nil {
		return err
	}
	path, ok := p.broker.exe[p.image.Exe]
	if !ok {
		fd := p.broker.transfer[p.broker.files[fileUse{p.image.Exe, false}]]
		path = fmt.Sprintf("/proc/self/fd/%d", fd)
	}
	return p.stub.Exec(path, area)
}

// settle gives the process its directory and what else it must have before its
// children are made.
func (p *process) settle() error {
	s := newScript(p.stub, p.stub.Leader())
	if p.image.Attributes.Subreaper {
		s.add("PR_SET_CHILD_SUBREAPER", unix.SYS_PRCTL, unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	}
	if p.image.CwdGone {
		dir := s.text(p.image.Cwd)
		s.try(unix.SYS_MKDIR, dir, 0o700)
		s.add("chdir to "+p.image.Cwd, unix.SYS_CHDIR, dir)
		s.try(unix.SYS_RMDIR, dir)
	} else {
		s.add("chdir to "+p.image.Cwd, unix.SYS_CHDIR, s.text(p.image.Cwd))
	}
	s.add("umask", unix.SYS_UMASK, uint64(p.image.Attributes.Umask))
	return s.run()
}

// freeAddress finds a place of some bytes where neither the program nor the
// work area nor the kernel's choice for a fresh address space has anything, nor
// any process that may be forked from this one.
func (p *process) freeAddress(size uint64) (uint64, error) {
	const lowest, highest, step, gap = 0x1000_0000, 0xe000_0000, 0x100_0000, 0x1000
	for at := uint64(lowest); at < highest; at += step {
		free := p.stub.Area == 0 || at+size <= p.stub.Area || p.stub.Area+tracer.AreaLen <= at
		for _, image := range p.run.m.Forks(p.image) {
			free = free && !slices.ContainsFunc(image.VMAs, func(v snapshot.VMA) bool {
				return uint64(v.Start) < at+size+gap && at < uint64(v.End)+gap
			})
		}
		if free {
			return at, nil
		}
	}
	return 0, errors.New("no free addresses below 4 GiB")
}

// tidOf returns the id that a thread of the image has here.
func (p *process) tidOf(tid int) int { return p.threads[p.indexOf(tid)].TID }
