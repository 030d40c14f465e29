package capture

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// sent is a message of a test: its bytes and how many descriptors go with it.
type sent struct {
	data string
	fds  int
}

// filledPair makes a pair of sockets and sends messages; the end that has them unread is returned.
func filledPair(t *testing.T, typ int, messages []sent) int {
	t.Helper()
	ends, err := unix.Socketpair(unix.AF_UNIX, typ|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, fd := range ends {
			if err := unix.Close(fd); err != nil {
				t.Error(err)
			}
		}
	})
	for _, m := range messages {
		var control []byte
		if m.fds > 0 {
			control = unix.UnixRights(ends[:m.fds]...)
		}
		if _, err := unix.SendmsgN(ends[0], []byte(m.data), control, nil, 0); err != nil {
			t.Fatal(err)
		}
	}
	return ends[1]
}

// TestPeekQueue: a look at a queue finds where the descriptors are, and takes nothing.
func TestPeekQueue(t *testing.T) {
	long := string(make([]byte, 9000))
	for name, c := range map[string]struct {
		typ        int
		sent, want []sent
	}{
		"stream": {unix.SOCK_STREAM,
			[]sent{{"aaaa", 0}, {"bbb", 0}, {"ccccc", 1}, {"d", 2}, {"e", 0}, {"f", 0}},
			[]sent{{"aaaabbb", 0}, {"ccccc", 1}, {"d", 2}, {"ef", 0}}},
		"long stream": {unix.SOCK_STREAM,
			[]sent{{long, 0}, {long, 1}, {"a", 1}, {long, 0}, {"b", 1}},
			[]sent{{long, 0}, {long, 1}, {"a", 1}, {long, 0}, {"b", 1}}},
		"plain stream": {unix.SOCK_STREAM, []sent{{"a", 0}, {"b", 0}}, []sent{{"ab", 0}}},
		"empty stream": {unix.SOCK_STREAM, nil, nil},
		"packets":      {unix.SOCK_SEQPACKET, []sent{{"a", 0}, {"bb", 2}, {"c", 0}}, []sent{{"a", 0}, {"bb", 2}, {"c", 0}}},
		"datagrams":    {unix.SOCK_DGRAM, []sent{{"a", 1}, {"bb", 0}}, []sent{{"a", 1}, {"bb", 0}}},
	} {
		t.Run(name, func(t *testing.T) {
			fd := filledPair(t, c.typ, c.sent)
			const before = 2
			if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEEK_OFF, before); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				checkQueue(t, fd, c.typ, c.want)
			}
			if n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEEK_OFF); err != nil || n != before {
				t.Errorf("the peek offset is %d (%v), want %d", n, err, before)
			}
		})
	}
}

func checkQueue(t *testing.T, fd, typ int, want []sent) {
	t.Helper()
	queue, err := peekQueue(fd, typ)
	if err != nil {
		t.Fatal(err)
	}
	if len(queue) != len(want) {
		t.Errorf("%d messages, want %d", len(queue), len(want))
	}
	for i := range min(len(queue), len(want)) {
		if m := queue[i]; string(m.data) != want[i].data || len(m.fds) != want[i].fds {
			t.Errorf("message %d: %d bytes with %d descriptors, want %d with %d", i, len(m.data), len(m.fds), len(want[i].data), want[i].fds)
		}
	}
	closeFlying(queue)
	for i := range queue {
		for _, fd := range queue[i].fds {
			if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); !errors.Is(err, unix.EBADF) {
				t.Errorf("descriptor %d was left open: %v", fd, err)
			}
		}
	}
}
