package restore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/crtrace/crtrace/snapshot"
	"github.com/crtrace/crtrace/tracer"
	"golang.org/x/sys/unix"
)

// autoPatience is how long a restore with PIDAuto tries to reach the ids on the
// host before it gives up with ErrIDs.
const autoPatience = 8 * time.Second

// run is one restore while it goes on.
type run struct {
	plan      *Plan
	m         *snapshot.Manifest
	broker    *broker
	ids       *ids
	seed      *tracer.Stub
	processes []*process
	warnings  []string
	log       *slog.Logger
}

// Run carries out a plan. When it returns without an error the tree runs, its
// root a child of this process; else nothing runs and no file was changed.
func Run(ctx context.Context, im *snapshot.Image, p *Plan) (*Tree, error) {
	var tree *Tree
	err := tracer.Keep(func() error {
		var err error
		tree, err = restoreTree(ctx, im, p)
		return err
	})
	return tree, err
}

func restoreTree(ctx context.Context, im *snapshot.Image, p *Plan) (tree *Tree, err error) {
	began := time.Now()
	r := &run{plan: p, m: im.Manifest, broker: newBroker(im, p), warnings: p.warnings, log: p.o.Log}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	defer func() { err = errors.Join(err, r.broker.close()) }()
	defer func() {
		if err != nil {
			err = errors.Join(err, r.abort())
		}
	}()
	burner, err := newBurner()
	if err != nil {
		return nil, err
	}
	defer burner.close()
	if p.o.Inside && clocksWentBack(r.m.Host.Clocks) {
		if err := enterTimeNamespace(r.m.Host.Clocks); err != nil {
			r.warn("CLOCK_MONOTONIC goes backwards for the program: %v", err)
		}
	}
	r.ids = &ids{mode: p.mode, setTID: p.setTID, burner: burner}
	if p.mode == PIDHost && !p.setTID {
		if err := burner.takeTurn(ctx); err != nil {
			return nil, err
		}
	}
	if p.o.PIDs == PIDAuto {
		r.ids.until = time.Now().Add(autoPatience)
	}
	if err := r.broker.open(); err != nil {
		return nil, err
	}
	if r.seed, err = tracer.Spawn("/proc/self/exe", r.broker.seedFiles(), nil); err != nil {
		return nil, err
	}
	for i := range r.m.Processes {
		if err := r.process(ctx, &r.m.Processes[i]); err != nil {
			return nil, err
		}
	}
	if err := r.finish(); err != nil {
		return nil, err
	}
	return &Tree{
		Root: r.processes[0].stub.PID, Reach: r.ids.elapsed, Build: time.Since(began) - r.ids.elapsed,
		Warnings: r.warnings,
	}, nil
}

// process makes and builds one process.
func (r *run) process(ctx context.Context, image *snapshot.Process) error {
	p := &process{run: r, broker: r.broker, image: image}
	var err error
	if p.stub, err = r.ids.process(ctx, r.seed, image.PID); err != nil {
		return err
	}
	r.processes = append(r.processes, p)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	limit.Cur = limit.Max
	if err := unix.Prlimit(p.stub.PID, unix.RLIMIT_NOFILE, &limit, nil); err != nil {
		return fmt.Errorf("raise the limit of descriptors: %w", err)
	}
	return p.build(ctx)
}

// finish completes all processes, rolls files back and lets everything go.
func (r *run) finish() error {
	for _, p := range r.processes {
		if err := p.finish(); err != nil {
			return err
		}
	}
	seed := r.seed
	r.seed = nil // holds ends of pipes
	if err := errors.Join(seed.Kill(), tracer.Reap(seed.PID)); err != nil {
		return err
	}
	if err := r.broker.rollBack(); err != nil {
		return err
	}
	if err := r.broker.start(); err != nil {
		return err
	}
	for _, p := range r.processes {
		if err := p.release(); err != nil {
			return fmt.Errorf("let process %d go: %w", p.image.PID, err)
		}
		if err := p.redraw(); err != nil && !errors.Is(err, unix.ESRCH) {
			r.warn("process %d: SIGWINCH: %v", p.image.PID, err)
		}
	}
	return nil
}

// abort ends everything that was made.
func (r *run) abort() error {
	var errs []error
	stubs := []*tracer.Stub{}
	for _, p := range r.processes {
		stubs = append(stubs, p.stub)
	}
	if r.seed != nil {
		stubs = append(stubs, r.seed)
	}
	for _, s := range stubs {
		errs = append(errs, s.Kill())
	}
	for i, s := range stubs {
		if i < len(r.processes) {
			for _, t := range r.processes[i].threads[min(1, len(r.processes[i].threads)):] {
				errs = append(errs, tracer.Reap(t.TID))
			}
		}
		errs = append(errs, tracer.Reap(s.PID))
	}
	return errors.Join(errs...)
}

// warn notes that something is not as it was.
func (r *run) warn(format string, args ...any) {
	r.warnings = append(r.warnings, fmt.Sprintf(format, args...))
}

// start sets going what waits in the broker: timers, and the seals of memfds.
func (b *broker) start() error {
	for i := range b.m.Descriptions {
		d := &b.m.Descriptions[i]
		if r := restorers[d.Detail.Kind()]; r.start != nil {
			if err := r.start(b, d, b.descs[i]); err != nil {
				return fmt.Errorf("%s: %w", describe(b.m, d), err)
			}
		}
	}
	return b.seal()
}
