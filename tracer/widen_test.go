package tracer

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// guardedSocket is the descriptor that the program under test has.
const guardedSocket, ownMark, raisedMark = 3, 5, 1 << 20

// guarder is the tracer that will be killed: it guards the program's socket.
func guarder(args []string) error {
	pid, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	return Do(func() error {
		p, err := Freeze(pid, nil)
		if err != nil {
			return err
		}
		r, err := p.Remote()
		if err != nil {
			return errors.Join(err, p.Release())
		}
		if err := r.guard(guardedSocket, ownMark); err != nil {
			return errors.Join(err, r.Close(), p.Release())
		}
		fmt.Println("ready")
		for {
			unix.Pause()
		}
	})
}

// connection returns the two ends of a TCP connection.
func connection(t *testing.T) (reader, writer *os.File) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var ends [2]*os.File
	dialed, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range []net.Conn{dialed, accepted} {
		if ends[i], err = c.(*net.TCPConn).File(); err != nil {
			t.Fatal(err)
		}
		c.Close()
		t.Cleanup(func() { ends[i].Close() })
	}
	return ends[0], ends[1]
}

func option(t *testing.T, f *os.File, name int) int {
	t.Helper()
	value, err := unix.GetsockoptInt(int(f.Fd()), unix.SOL_SOCKET, name)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func setMark(t *testing.T, f *os.File, mark int) {
	t.Helper()
	if err := unix.SetsockoptInt(int(f.Fd()), unix.SOL_SOCKET, unix.SO_RCVLOWAT, mark); err != nil {
		t.Fatal(err)
	}
}

// TestKilledTracerOfSocket: a raised low-water mark does not outlive the tracer.
func TestKilledTracerOfSocket(t *testing.T) {
	for name, flags := range map[string][]string{"64": nil, "32": busy32} {
		t.Run(name, func(t *testing.T) {
			reader, _ := connection(t)
			cmd := exec.Command(compile(t, "busy", flags...))
			cmd.ExtraFiles = []*os.File{reader}
			victim := begin(t, cmd)
			before, err := traces(victim.pid)
			if err != nil {
				t.Fatal(err)
			}
			in := begin(t, self(t, "guarder", strconv.Itoa(victim.pid)))
			setMark(t, reader, raisedMark)
			if err := in.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			<-in.ended
			victim.clean(before)
			if got := option(t, reader, unix.SO_RCVLOWAT); got != ownMark {
				t.Errorf("the low-water mark is %d, want %d", got, ownMark)
			}
			killAtRandom(t, victim) // no guard is left
			setMark(t, reader, raisedMark)
			victim.clean(before)
			if got := option(t, reader, unix.SO_RCVLOWAT); got != raisedMark {
				t.Errorf("the low-water mark is %d, want %d", got, raisedMark)
			}
			victim.pass()
		})
	}
}

// TestWiden: what the sender could not get rid of comes in, and marks and buffers are
// as they were.
func TestWiden(t *testing.T) {
	reader, writer := connection(t)
	setMark(t, reader, ownMark)
	in, out := int(reader.Fd()), int(writer.Fd())
	if err := unix.SetsockoptInt(out, unix.SOL_SOCKET, unix.SO_SNDBUF, 400_000); err != nil {
		t.Fatal(err)
	}
	sent := 0
	for {
		n, err := unix.SendmsgN(out, make([]byte, 1000), nil, nil, unix.MSG_DONTWAIT)
		if errors.Is(err, unix.EAGAIN) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		sent += n
	}
	queued := func() int {
		n, err := unix.IoctlGetInt(in, unix.TIOCINQ)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if has := queued(); has == 0 || has == sent {
		t.Fatalf("%d of %d bytes have arrived", has, sent)
	}
	size := option(t, reader, unix.SO_RCVBUF)
	eventually(t, "all bytes", func() bool {
		if err := Widen(in, 2*sent); err != nil {
			t.Fatal(err)
		}
		return queued() == sent
	})
	if err := Narrow(in, size); err != nil {
		t.Fatal(err)
	}
	if got := option(t, reader, unix.SO_RCVBUF); got != size {
		t.Errorf("the receive buffer has %d bytes, want %d", got, size)
	}
	if got := option(t, reader, unix.SO_RCVLOWAT); got != ownMark {
		t.Errorf("the low-water mark is %d, want %d", got, ownMark)
	}
	if got := option(t, reader, unix.SO_BUF_LOCK); got != 0 {
		t.Errorf("the sizes of the buffers are locked: %d", got)
	}
}
