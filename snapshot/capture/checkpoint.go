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
	removeLeftovers(filepath.Dir(w.Part()), newCollection(w, o).log)
	res := &Result{Dir: o.Dir}
	err = tracer.Do(func() error { return attempt(ctx, pid, w, o, res) })
	if err != nil {
		return nil, errors.Join(explainRoom(err), w.Abort())
	}
	res.Total = time.Since(began)
	return res, nil
}

// attempt takes the checkpoint. Where something was in the way that passes by
// itself, such as bytes that a program was about to read, it tries again a little
// later. Nothing has been written then.
func attempt(ctx context.Context, pid int, w *snapshot.Writer, o Options, res *Result) error {
	const most, pause = 20, 5 * time.Millisecond
	for n := 1; ; n++ {
		c := newCollection(w, o)
		c.hurried = n == most
		err := c.run(ctx, pid, res)
		res.Warnings = c.warnings
		if !passing(err) || n == most {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Duration(n) * pause):
		}
	}
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
	defer c.closeCaught()
	err := c.freeze(pid)
	if err == nil {
		c.m.Host.Clocks = readClocks(pid)
		err = c.takeAll(ctx)
	}
	if err == nil && c.o.Kill {
		err = c.commit(ctx, res)
	}
	if err == nil && c.o.Kill {
		res.Pause = time.Since(c.targets[0].proc.Frozen)
		return c.kill()
	}
	c.closeCaught()
	pause, errRelease := c.release()
	if err := errors.Join(err, errRelease); err != nil {
		return err
	}
	res.Pause = pause
	return c.commit(ctx, res)
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
	res.Bytes, res.Processes = size, len(c.targets)
	for _, t := range c.targets {
		res.Threads += len(t.out.Threads)
	}
	return nil
}

// takeAll collects the stopped tree.
func (c *collection) takeAll(ctx context.Context) (err error) {
	c.allLocks = readLocks()
	defer func() {
		for _, t := range c.targets {
			if t.remote != nil {
				err = errors.Join(err, t.remote.Close())
			}
		}
	}()
	for _, t := range c.targets {
		if t.remote, err = t.proc.Remote(); err != nil {
			return err
		}
	}
	if err := c.takeProcesses(ctx); err != nil {
		return err
	}
	if len(c.problems) > 0 { // something new since the survey
		return &UnsupportedError{c.problems}
	}
	return nil
}

// takeProcesses collects what the processes share, then each of them.
func (c *collection) takeProcesses(ctx context.Context) error {
	for _, t := range c.targets {
		if err := t.surveyTarget(); err != nil {
			return err
		}
	}
	if err := errors.Join(c.takeStops(), c.takeDescriptors()); err != nil || len(c.problems) > 0 {
		return err
	}
	for _, t := range c.targets {
		if err := t.take(ctx); err != nil {
			return err
		}
		if len(c.problems) > 0 {
			return nil
		}
		c.m.Processes = append(c.m.Processes, *t.out)
	}
	c.surveyNotifications()
	if err := c.takeIPC(); err != nil || len(c.problems) > 0 {
		return err
	}
	return c.takeShared(ctx)
}
