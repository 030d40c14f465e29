package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/crtrace/crtrace/snapshot/capture"
)

func TestRoundTrip(t *testing.T) {
	want := Reply{Error: &Error{Kind: "unsupported", Message: "no", Exit: 3,
		Problems: []capture.Problem{{PID: 7, Object: "descriptor 5", Why: "a socket"}}}}
	var buf bytes.Buffer
	if err := Write(&buf, want); err != nil {
		t.Fatal(err)
	}
	buf.WriteString("next")
	var got Reply
	if err := Read(&buf, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if buf.String() != "next" {
		t.Errorf("the reader left %q, want what follows the frame", buf.String())
	}
}

func frame(n uint32, body string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, n), body...)
}

func TestReadRefuses(t *testing.T) {
	ping := `{"op":"ping"}`
	for name, tc := range map[string]struct {
		in   []byte
		want string
	}{
		"length above the cap": {frame(MaxFrame+1, ping), "too long"},
		"cut body":             {frame(100, ping), "ends after 13"},
		"cut length":           {[]byte{0, 0}, "unexpected EOF"},
		"unknown field":        {frame(11, `{"root":"x"}`[:11]+""), "decode frame"},
		"two values":           {frame(uint32(len(ping)*2), ping+ping), "after the JSON value"},
		"not JSON":             {frame(3, "abc"), "decode frame"},
		"empty":                {frame(0, ""), "decode frame"},
	} {
		t.Run(name, func(t *testing.T) {
			err := Read(bytes.NewReader(tc.in), new(Request))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
		})
	}
	if err := Read(strings.NewReader(""), new(Request)); !errors.Is(err, io.EOF) {
		t.Errorf("closed connection: %v, want io.EOF", err)
	}
}

func TestWriteRefusesLongFrames(t *testing.T) {
	err := Write(io.Discard, Request{Dir: strings.Repeat("x", MaxFrame)})
	if !errors.Is(err, ErrTooLong) {
		t.Errorf("error %v, want ErrTooLong", err)
	}
}

func TestValidate(t *testing.T) {
	for _, tc := range []struct {
		req Request
		ok  bool
	}{
		{Request{Op: OpPing}, true},
		{Request{Op: OpCheckpoint, PID: 5, Dir: "/x"}, true},
		{Request{Op: OpCheckpoint, PID: 0, Dir: "/x"}, false},
		{Request{Op: OpCheckpoint, PID: -1, Dir: "/x"}, false},
		{Request{Op: OpCheckpoint, PID: 5, Dir: "x"}, false},
		{Request{Op: "exec"}, false},
		{Request{}, false},
	} {
		if err := tc.req.Validate(); (err == nil) != tc.ok {
			t.Errorf("%+v: error %v, want ok %t", tc.req, err, tc.ok)
		}
	}
	for _, r := range []Reply{{}, {Pong: new(Pong), Error: new(Error)}} {
		if r.Validate() == nil {
			t.Errorf("%+v: accepted", r)
		}
	}
	for in, want := range map[int]int{0: 1, -3: 1, 256: 1, 3: 3, 255: 255} {
		if got := (&Error{Exit: in}).ExitCode(); got != want {
			t.Errorf("exit %d from the other side becomes %d, want %d", in, got, want)
		}
	}
}

// FuzzFrame feeds arbitrary bytes to the reader: it must not panic, must not
// keep more than a frame, and whatever it accepts must survive a round trip.
func FuzzFrame(f *testing.F) {
	f.Add(frame(13, `{"op":"ping"}`))
	f.Add(frame(2, `{}`))
	f.Add(frame(MaxFrame+1, ""))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, '{'})
	f.Add(frame(46, `{"op":"checkpoint","pid":12,"dir":"/tmp/image"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var req Request
		if err := Read(bytes.NewReader(data), &req); err != nil {
			return
		}
		_ = req.Validate()
		var buf bytes.Buffer
		if err := Write(&buf, req); err != nil {
			if errors.Is(err, ErrTooLong) { // escapes can make the text longer
				return
			}
			t.Fatal(err)
		}
		var again Request
		if err := Read(&buf, &again); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(req, again); diff != "" {
			t.Error(diff)
		}
	})
}
