package tracer

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// outcome is what a call of testdata/blocked.c comes to.
type outcome struct {
	result int
	errno  unix.Errno
	kind   waiting
}

// waiting tells how the end of a call is found.
type waiting int

const (
	exact   waiting = iota // a time-out that goes on where it was
	again                  // a time-out that may start again, but never ends early
	untimed                // it ends when something happens
)

// outcomes are those of a run that nobody has disturbed.
var outcomes = map[string]outcome{
	"nanosleep": {0, 0, exact}, "nanosleep_rem": {0, 0, exact}, "clock_nanosleep": {0, 0, exact},
	"clock_nanosleep_abs": {0, 0, exact}, "poll": {0, 0, exact}, "poll_none": {0, 0, exact}, "ppoll": {0, 0, exact},
	"select": {0, 0, exact}, "pselect": {0, 0, exact}, "epoll_wait": {0, 0, exact}, "epoll_pwait": {0, 0, exact},
	"futex": {-1, unix.ETIMEDOUT, exact}, "futex_bitset": {-1, unix.ETIMEDOUT, exact},
	"sigtimedwait": {-1, unix.EAGAIN, again}, "semtimedop": {-1, unix.EAGAIN, again},
	"recv_timeo": {-1, unix.EAGAIN, again}, "read_timeo": {-1, unix.EAGAIN, again}, "readv_timeo": {-1, unix.EAGAIN, again},
	"recvmsg_timeo": {-1, unix.EAGAIN, again}, "recvmmsg_timeo": {-1, unix.EAGAIN, again},
	"send_timeo": {-1, unix.EAGAIN, again}, "write_timeo": {-1, unix.EAGAIN, again},
	"writev_timeo": {-1, unix.EAGAIN, again}, "sendmsg_timeo": {-1, unix.EAGAIN, again},
	"io_getevents": {0, 0, again}, "mq_timedreceive": {-1, unix.ETIMEDOUT, exact}, "read_timerfd": {8, 0, exact},
	"read_pipe": {1, 0, untimed}, "accept": {0, 0, untimed}, "waitpid": {0, 0, untimed}, "msgrcv": {8, 0, untimed},
	"flock": {0, 0, untimed}, "setlkw": {0, 0, untimed}, "read_eventfd": {8, 0, untimed},
	"read_inotify": {0, 0, untimed}, "semop": {0, 0, untimed}, "splice": {0, 0, untimed},
	"sigsuspend": {-1, unix.EINTR, untimed}, "read_signalfd": {0, 0, untimed},
}

// TestBlockedCalls: threads that wait in the kernel don't notice that they are
// frozen, nor that calls are made in them.
func TestBlockedCalls(t *testing.T) {
	for name, freeze := range map[string]func(int) error{
		"frozen": func(pid int) error { return frozen(pid, nil, func(*Process) error { return nil }) },
		"calls":  func(pid int) error { return inside(pid, func(p *Process, r *Remote) error { return callAll(p, r, 2) }) },
	} {
		for _, bits := range []string{"-m64", "-m32"} {
			t.Run(name+bits, func(t *testing.T) { blockedCalls(t, bits, freeze) })
		}
	}
}

func blockedCalls(t *testing.T, bits string, freeze func(int) error) {
	const (
		asked     = 300 // milliseconds, in the program
		freezes   = 2
		tolerance = 200 // of a busy machine
	)
	c := begin(t, exec.Command(compile(t, "blocked", "-Wno-unused-result", bits, "-lrt")))
	began := time.Now()
	for i := range freezes {
		moment := time.Duration(i+1) * 80 * time.Millisecond
		<-time.After(time.Until(began.Add(moment)))
		c.must(freeze(c.pid))
	}
	disturbed := time.Since(began).Milliseconds()
	c.await("the timed calls end", func() bool { return len(c.output()) > timedCalls() })
	if _, err := c.in.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	c.pass()
	seen := 0
	for _, line := range c.output() {
		var name string
		var result, errno, took int
		if n, _ := fmt.Sscanf(line, "%s %d %d %d", &name, &result, &errno, &took); n != 4 {
			continue
		}
		seen++
		want, ok := outcomes[name]
		longest := asked + int(disturbed) + tolerance
		switch {
		case !ok || result != want.result || unix.Errno(errno) != want.errno:
			t.Errorf("%s: result %d, error %q, want %d, %q", name, result, unix.Errno(errno), want.result, want.errno)
		case took < asked-1:
			t.Errorf("%s ended after %d ms, %d asked", name, took, asked)
		case want.kind == exact && took > longest, want.kind == again && took > (freezes+1)*asked+tolerance:
			t.Errorf("%s took %d ms; %d asked, disturbed for %d", name, took, asked, disturbed)
		}
	}
	if seen != len(outcomes) {
		t.Errorf("%d calls reported, want %d:\n%s", seen, len(outcomes), strings.Join(c.output(), "\n"))
	}
}

// timedCalls counts the calls that end without help.
func timedCalls() int {
	n := 0
	for _, o := range outcomes {
		if o.kind != untimed {
			n++
		}
	}
	return n
}
