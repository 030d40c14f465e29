package restore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/crtrace/crtrace/tracer/procfs"
	"golang.org/x/sys/unix"
)

// reservedPIDs is the lowest id that the kernel gives out after a wrap
// (RESERVED_PIDS, kernel/pid.c).
const reservedPIDs = 300

// burner moves the kernel's cursor of process ids.
type burner struct {
	max  int // kernel.pid_max: ids are below it
	last *procfs.LoadAvg
	fail func() syscall.Errno // takes one id and gives it back
	turn int                  // socket whose name keeps other burners away, -1: none
	held map[int]bool         // ids that are taken although no task has them: groups and sessions
}

// newBurner returns a burner. It is closed by close.
func newBurner() (*burner, error) {
	warmThreads()
	text, err := os.ReadFile("/proc/sys/kernel/pid_max")
	if err != nil {
		return nil, err
	}
	limit, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, fmt.Errorf("kernel.pid_max: %w", err)
	}
	last, err := procfs.OpenLoadAvg()
	if err != nil {
		return nil, err
	}
	b := &burner{max: limit, last: last, turn: -1, fail: chooseClone()}
	if b.held, err = heldIDs(); err != nil {
		return nil, errors.Join(err, last.Close())
	}
	return b, nil
}

func (b *burner) close() error {
	if b.turn >= 0 {
		unix.Close(b.turn)
	}
	return b.last.Close()
}

// takeTurn waits until no other restore on this host burns ids: two of them
// would carry the cursor past each other's aim. The turn is an abstract socket
// name, which the kernel frees when its owner ends. Anybody can hold it, so the
// wait is short.
func (b *burner) takeTurn(ctx context.Context) error {
	const patience, step = 10 * time.Second, 2 * time.Millisecond
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	tick := time.NewTicker(step)
	defer tick.Stop()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		err := unix.Bind(fd, &unix.SockaddrUnix{Name: "@crtrace/burn"})
		if err == nil {
			b.turn = fd
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), unix.Close(fd))
		case <-tick.C:
		}
	}
	return unix.Close(fd) // whoever holds it, we try our luck
}

// distance is how many ids lie between the cursor and an id.
func (b *burner) distance(from, to int) int {
	if to > from {
		return to - from
	}
	return b.max - from + max(to-reservedPIDs, 0)
}

// reach burns ids until the wanted one is the next that the kernel gives out.
func (b *burner) reach(ctx context.Context, want int) error {
	if want >= b.max {
		return fmt.Errorf("%w: %d is beyond kernel.pid_max (%d); use --pids=namespace", ErrIDs, want, b.max)
	}
	if b.waitFree(ctx, want) {
		return fmt.Errorf("%w: %d is in use on this host; use --pids=namespace or --pids=any", ErrIDs, want)
	}
	const near, most = 64, 4096
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		at, err := b.last.LastPID()
		if err != nil {
			return err
		}
		n := 1
		if d := b.distance(at, want); d > near {
			n = min(d/2, most)
		} else if b.next(at) == want {
			return nil
		}
		for range n {
			if err := b.burn(); err != nil {
				return err
			}
		}
	}
}

// next returns the id that the kernel will give out.
func (b *burner) next(at int) int {
	for id := at + 1; ; id++ {
		if id >= b.max {
			id = reservedPIDs
		}
		if !b.taken(id) {
			return id
		}
	}
}

// taken tells whether an id belongs to a task, a group or a session.
func (b *burner) taken(id int) bool {
	return b.held[id] || unix.Access("/proc/"+strconv.Itoa(id), unix.F_OK) == nil
}

// waitFree waits a moment for an id that is in use: a program that has just been
// killed may still be on its way out. It tells whether the id is still taken.
func (b *burner) waitFree(ctx context.Context, id int) bool {
	const patience, step = 500 * time.Millisecond, 5 * time.Millisecond
	tick := time.NewTicker(step)
	defer tick.Stop()
	for end := time.Now().Add(patience); b.taken(id); {
		if b.held[id] || time.Now().After(end) || ctx.Err() != nil {
			return true
		}
		<-tick.C
	}
	return false
}

// BurnCost measures the time that one process id takes to burn, which is how far
// ids on this host can be reached without privilege: all of them take
// kernel.pid_max times as long.
func BurnCost() (time.Duration, error) {
	b, err := newBurner()
	if err != nil {
		return 0, err
	}
	each, err := b.cost()
	return each, errors.Join(err, b.close())
}

// cost measures the time that one id takes to burn.
func (b *burner) cost() (time.Duration, error) {
	const sample = 100
	began := time.Now()
	for range sample {
		if err := b.burn(); err != nil {
			return 0, err
		}
	}
	return time.Since(began) / sample, nil
}

// warmThreads makes the runtime start threads that it would start later. A
// thread that it starts while ids are burned may get just the id that is wanted,
// and keeps it.
func warmThreads() {
	const threads = 8
	var ready, done sync.WaitGroup
	release := make(chan struct{})
	ready.Add(threads)
	for range threads {
		done.Go(func() {
			runtime.LockOSThread() // one thread for each; unlocked, it goes to the idle ones
			defer runtime.UnlockOSThread()
			ready.Done()
			<-release
		})
	}
	ready.Wait()
	close(release)
	done.Wait()
}

// heldIDs returns the process groups and sessions of all processes. An id stays
// taken as long as a group or session is called by it.
func heldIDs() (map[int]bool, error) {
	pids, err := procfs.Processes()
	if err != nil {
		return nil, err
	}
	held := map[int]bool{}
	for _, pid := range pids {
		if s, err := procfs.ReadStat(pid); err == nil {
			held[s.PGID], held[s.SID] = true, true
		}
	}
	return held, nil
}

// chooseClone returns the call to burn with: clone3, or clone where a container's
// filter forbids clone3 because it can't look into its arguments.
func chooseClone() func() syscall.Errno {
	if failingClone3() == unix.EFAULT {
		return failingClone3
	}
	if fd, err := unix.PidfdOpen(unix.Getpid(), 0); err == nil { // Linux 5.3
		unix.Close(fd)
		return failingClone
	}
	return failingClone3
}

// burn takes one id from the kernel and gives it back.
func (b *burner) burn() error {
	switch errno := b.fail(); errno {
	case unix.EFAULT:
		return nil
	case unix.EAGAIN:
		return fmt.Errorf("clone: %w: the limit of processes (ulimit -u, pids.max) is reached", errno)
	default:
		return fmt.Errorf("clone with a bad pointer: %w; use --pids=any", errno)
	}
}
