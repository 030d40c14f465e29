package restore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strconv"
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
	stubs     map[int]*tracer.Stub // all processes that were made, by the id in the image; go-betweens below 0
	departed  map[int]int          // ids here of those that have ended, by the id in the image
	finished  map[int]bool         // descriptions that are complete
	made      map[int]place        // where descriptions are that only a process could make
	warnings  []string
	log       *slog.Logger
}

// place is a descriptor of a process.
type place struct{ pid, fd int }

// Run carries out a plan. When it returns without an error the tree runs, its
// root a child of this process; else nothing runs and no file was changed. For a
// tree with orphans this process must be a subreaper (PR_SET_CHILD_SUBREAPER).
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
	r := &run{
		plan: p, m: im.Manifest, broker: newBroker(im, p), warnings: p.warnings, log: p.o.Log,
		stubs: map[int]*tracer.Stub{}, departed: map[int]int{}, finished: map[int]bool{}, made: map[int]place{},
	}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	r.broker.log = r.log
	defer func() { err = errors.Join(err, r.broker.close()) }()
	defer func() {
		if err != nil {
			err = errors.Join(err, r.abort(), r.broker.removeCreated())
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
	if err := r.broker.open(ctx); err != nil {
		return nil, err
	}
	if p.o.PIDs == PIDAuto {
		r.ids.until = time.Now().Add(autoPatience)
	}
	if r.seed, err = tracer.Spawn("/proc/self/exe", r.broker.seedFiles(), nil); err != nil {
		return nil, err
	}
	if err := r.raiseLimit(); err != nil {
		return nil, err
	}
	if err := r.makeFamily(ctx); err != nil {
		return nil, err
	}
	for _, p := range r.processes {
		if err := p.build(ctx); err != nil {
			return nil, err
		}
	}
	if err := r.fillIPC(); err != nil {
		return nil, err
	}
	if err := r.notifyQueues(); err != nil {
		return nil, err
	}
	if err := r.finish(); err != nil {
		return nil, err
	}
	r.broker.succeeded = true
	return &Tree{
		Root: r.processes[0].stub.PID, Reach: r.ids.elapsed, Build: time.Since(began) - r.ids.elapsed,
		Warnings: append(r.warnings, r.broker.warnings...),
	}, nil
}

// raiseLimit lets the seed, and all that descend from it, use every descriptor
// number that this user may use.
func (r *run) raiseLimit() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	limit.Cur = limit.Max
	if err := unix.Prlimit(r.seed.PID, unix.RLIMIT_NOFILE, &limit, nil); err != nil {
		return fmt.Errorf("raise the limit of descriptors: %w", err)
	}
	return nil
}

// finish completes all processes, rolls files back and lets everything go.
func (r *run) finish() error {
	if err := r.finishAll(); err != nil {
		return err
	}
	seed := r.seed
	r.seed = nil // holds ends of pipes
	if err := errors.Join(seed.Kill(), tracer.Reap(seed.PID)); err != nil {
		return err
	}
	if err := r.broker.rollBack(); err != nil {
		return err
	}
	if err := errors.Join(r.broker.start(), r.giveTerminal()); err != nil {
		return err
	}
	if r.plan.o.Inside {
		r.passOwnIDs()
	}
	if ready := r.plan.o.Ready; ready != nil {
		if err := ready(r.processes[0].stub.PID); err != nil {
			return err
		}
	}
	if err := r.release(); err != nil {
		return err
	}
	for _, p := range r.processes {
		if err := p.redraw(); err != nil && !errors.Is(err, unix.ESRCH) {
			r.warn("process %d: SIGWINCH: %v", p.image.PID, err)
		}
	}
	return nil
}

// passOwnIDs has the program's next ids in a fresh namespace follow those that it
// has, as they would have done. Otherwise they would be the low ones there, and the
// restore after the next would find them taken by its own threads.
func (r *run) passOwnIDs() {
	highest := slices.Max(r.plan.wantedIDs())
	if err := os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte(strconv.Itoa(highest)), 0); err != nil {
		r.log.Debug("the next process ids will be low ones", "error", err)
	}
}

// abort ends everything that was made. Who loses the parent comes to us, and has
// to be waited for once more: first we were only the tracer.
func (r *run) abort() error {
	var errs []error
	stubs := slices.Collect(maps.Values(r.stubs))
	if r.seed != nil {
		stubs = append(stubs, r.seed)
	}
	for _, s := range stubs {
		errs = append(errs, s.Kill())
	}
	for _, s := range stubs {
		errs = append(errs, s.ReapThreads(), tracer.Reap(s.PID))
	}
	for _, s := range stubs {
		errs = append(errs, tracer.Reap(s.PID))
	}
	for _, pid := range r.departed {
		errs = append(errs, tracer.Reap(pid))
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
	return errors.Join(b.finishSegments(), b.seal())
}
