package restore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/crtrace/crtrace/tracer"
	"golang.org/x/sys/unix"
)

// ids makes tasks with chosen ids.
//
// A process that may set ids (CAP_CHECKPOINT_RESTORE in its user namespace) asks
// clone3 for them. Others reach them by burning: the kernel gives out ids in
// ascending order, and a clone whose pidfd pointer is bad fails only after it
// took one, without a task ever existing. When the wanted id is the next free
// one, a real task is made. Somebody else may snatch it; then the way leads once
// around all ids.
type ids struct {
	mode    PIDMode
	setTID  bool // clone3 may be asked for ids
	burner  *burner
	elapsed time.Duration // time spent on reaching ids
	until   time.Time     // when to give up, zero: never
}

// attempts is how often an id is tried before giving up. A wrap lies between
// two attempts.
const attempts = 40

// process makes a process, a child of a thread of a stub, or a sibling of it. want
// is its id, 0: any.
func (i *ids) process(ctx context.Context, by *tracer.StubThread, want int, sibling bool) (*tracer.Stub, error) {
	defer i.clock(time.Now())
	fork := func(id int) (*tracer.Stub, error) { return by.Fork(id, sibling) }
	if i.mode == PIDAny || want == 0 {
		return fork(0)
	}
	if i.setTID {
		return choose(ctx, i.burner, want, fork)
	}
	for range attempts {
		if err := i.reach(ctx, want); err != nil {
			return nil, err
		}
		s, err := fork(0)
		if err != nil || s.PID == want {
			return s, err
		}
		if err := s.Discard(); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%w: process id %d was taken by other processes %d times; use --pids=namespace or --pids=any", ErrIDs, want, attempts)
}

// thread makes a thread.
func (i *ids) thread(ctx context.Context, s *tracer.Stub, want int) (*tracer.StubThread, error) {
	defer i.clock(time.Now())
	if i.mode == PIDAny {
		return s.Thread(0)
	}
	if i.setTID {
		return choose(ctx, i.burner, want, s.Thread)
	}
	for range attempts {
		if err := i.reach(ctx, want); err != nil {
			return nil, err
		}
		t, err := s.Thread(0)
		if err != nil || t.TID == want {
			return t, err
		}
		if err := t.Exit(); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%w: thread id %d was taken by other processes %d times; use --pids=namespace or --pids=any", ErrIDs, want, attempts)
}

// reach is burner.reach, but it gives up in time.
func (i *ids) reach(ctx context.Context, want int) error {
	if i.until.IsZero() {
		return i.burner.reach(ctx, want)
	}
	limited, cancel := context.WithDeadline(ctx, i.until)
	defer cancel()
	err := i.burner.reach(limited, want)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return fmt.Errorf("%w: id %d was not reached in time: other processes come and go too fast; use --pids=namespace or --pids=any", ErrIDs, want)
	}
	return err
}

func (i *ids) clock(began time.Time) { i.elapsed += time.Since(began) }

// choose makes a task by asking for its id. An id that is in use may be a short
// process's, and free a moment later.
func choose[T any](ctx context.Context, b *burner, want int, task func(int) (T, error)) (T, error) {
	for n := 1; ; n++ {
		t, err := task(want)
		if !errors.Is(err, unix.EEXIST) || n == attempts || b.waitFree(ctx, want) {
			return t, idError(want, err)
		}
	}
}

// idError says what to do when an id is taken.
func idError(want int, err error) error {
	if errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("%w: %d is in use (%w); use --pids=namespace or --pids=any", ErrIDs, want, err)
	}
	return err
}
