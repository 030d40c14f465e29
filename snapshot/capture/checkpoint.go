package capture

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/crtrace/crtrace/snapshot"
	"github.com/crtrace/crtrace/tracer"
	"golang.org/x/sys/unix"
)

// checkpoint is Checkpoint without its documentation.
func checkpoint(ctx context.Context, pid int, o Options) (*Result, error) {
	began := time.Now()
	if err := survey(pid, o); err != nil {
		return nil, err
	}
	w, err := snapshot.Create(o.Dir)
	if err != nil {
		return nil, err
	}
	defer guard(w.Part())()
	c := newCollection(w, o)
	removeLeftovers(filepath.Dir(w.Part()), c.log)
	res := &Result{Dir: o.Dir, Processes: 1}
	err = tracer.Do(func() error { return c.run(ctx, pid, res) })
	if err != nil {
		return nil, errors.Join(explainRoom(err), w.Abort())
	}
	res.Total = time.Since(began)
	res.Warnings = c.warnings
	return res, nil
}

// explainRoom adds to an error of writing what the user can do about it.
func explainRoom(err error) error {
	switch {
	case errors.Is(err, unix.EFBIG):
		return fmt.Errorf("%w (the limit of file sizes, ulimit -f, is too low for the image)", err)
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return fmt.Errorf("%w (choose a directory with more room by -o)", err)
	}
	return err
}

// run takes the checkpoint on the tracer's thread.
func (c *collection) run(ctx context.Context, pid int, res *Result) error {
	p, err := tracer.Freeze(pid, c.o.Sleeps)
	if err != nil {
		return err
	}
	froze := p.Frozen
	c.m.Host.Clocks = readClocks(pid)
	if err := c.takeProcess(ctx, p); err != nil {
		return errors.Join(err, p.Release())
	}
	if len(c.problems) > 0 { // something new since the survey
		return errors.Join(&UnsupportedError{c.problems}, p.Release())
	}
	res.Threads = len(p.Tasks)
	if !c.o.Kill {
		err := p.Release()
		res.Pause = time.Since(froze)
		if err != nil {
			return fmt.Errorf("let process %d go: %w", pid, err)
		}
	}
	if err := c.commit(ctx, res); err != nil {
		if c.o.Kill {
			err = errors.Join(err, p.Release())
		}
		return err
	}
	if c.o.Kill {
		res.Pause = time.Since(froze)
		return p.Kill()
	}
	return nil
}

// commit saves what does not depend on the program any more and makes the image
// count.
func (c *collection) commit(ctx context.Context, res *Result) error {
	if err := c.saveFiles(ctx); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	size, err := c.w.Commit(c.m)
	if err != nil {
		return err
	}
	res.Bytes = size
	return nil
}

// takeProcess collects one stopped process.
func (c *collection) takeProcess(ctx context.Context, p *tracer.Process) error {
	remote, err := p.Remote()
	if err != nil {
		return err
	}
	t := &target{collection: c, pid: p.PID, proc: p, remote: remote}
	proc, err := t.take(ctx)
	if err := errors.Join(err, remote.Close()); err != nil {
		return err
	}
	c.m.Root = proc.PID
	c.m.Processes = append(c.m.Processes, *proc)
	return nil
}
