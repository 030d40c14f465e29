// Package wire is the language that `crtrace checkpoint` and a supervisor speak
// over the supervisor's socket.
//
// In a nutshell: a frame is a length (4 bytes, big-endian) and that many bytes
// of JSON. A connection carries one request and one reply; closing it earlier
// cancels the request. A frame of more than [MaxFrame] bytes, an unknown field
// or an unknown operation is refused, so that neither side trusts the other
// further than it must. The functions hold no state and may be used from any
// goroutine; one connection belongs to one goroutine per direction.
package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/crtrace/crtrace/snapshot/capture"
)

// MaxFrame is the largest accepted frame, in bytes, without its length.
const MaxFrame = 1 << 20

// ErrTooLong tells that a frame is longer than MaxFrame.
var ErrTooLong = errors.New("frame is too long")

// The operations.
const (
	OpCheckpoint = "checkpoint"
	OpPing       = "ping"
)

// Request is what a client asks for.
type Request struct {
	Op        string   `json:"op"`
	PID       int      `json:"pid,omitempty"` // root of the tree, as the client sees it
	Dir       string   `json:"dir,omitempty"` // absolute path of the image
	Kill      bool     `json:"kill,omitempty"`
	SaveFiles bool     `json:"save_files,omitempty"`
	Files     []string `json:"files,omitempty"` // rules, as snapshot.ParseFileRules reads them
	TCPClose  bool     `json:"tcp_close,omitempty"`
}

// Validate checks what does not need the system to be checked.
func (r *Request) Validate() error {
	switch r.Op {
	case OpPing:
		return nil
	case OpCheckpoint:
		if r.PID <= 0 {
			return fmt.Errorf("request %q: pid %d: want a positive number", r.Op, r.PID)
		}
		if !filepath.IsAbs(r.Dir) {
			return fmt.Errorf("request %q: directory %q: want an absolute path", r.Op, r.Dir)
		}
		return nil
	}
	return fmt.Errorf("unknown operation %q", r.Op)
}

// Reply is the answer to a request: exactly one of its fields is set.
type Reply struct {
	Pong   *Pong           `json:"pong,omitempty"`
	Result *capture.Result `json:"result,omitempty"`
	Error  *Error          `json:"error,omitempty"`
}

// Validate checks that exactly one field is set.
func (r *Reply) Validate() error {
	n := 0
	for _, set := range []bool{r.Pong != nil, r.Result != nil, r.Error != nil} {
		if set {
			n++
		}
	}
	if n != 1 {
		return fmt.Errorf("reply with %d parts, want 1", n)
	}
	return nil
}

// Pong is the answer to a ping.
type Pong struct {
	Supervisor int `json:"supervisor"` // pid of the supervisor
	Program    int `json:"program"`    // pid of the program that it watches
}

// Error is a failure that has crossed the socket.
type Error struct {
	Kind     string            `json:"kind"` // "unsupported", "permission", "gone", "exists", "usage", "failure"
	Message  string            `json:"message"`
	Hint     string            `json:"hint,omitempty"`
	Problems []capture.Problem `json:"problems,omitempty"`
	Exit     int               `json:"exit"` // status that the client's process should end with
}

// Error implements error.
func (e *Error) Error() string {
	if e.Hint != "" {
		return e.Message + " (" + e.Hint + ")"
	}
	return e.Message
}

// ExitCode returns the status, or 1 when the other side sent nonsense.
func (e *Error) ExitCode() int {
	if e.Exit < 1 || e.Exit > 255 {
		return 1
	}
	return e.Exit
}

// Write sends v as one frame.
func Write(w io.Writer, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode frame: %w", err)
	}
	if len(body) > MaxFrame {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrTooLong, len(body), MaxFrame)
	}
	frame := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(body)), uint32(len(body)))
	_, err = w.Write(append(frame, body...))
	return err
}

// Read receives one frame into v. It reads not a byte more than the frame. The
// error is io.EOF when the other side closed before the first byte.
func Read(r io.Reader, v any) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > MaxFrame {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrTooLong, n, MaxFrame)
	}
	// The buffer grows with what really comes: a length alone costs nothing.
	var body bytes.Buffer
	if m, err := io.CopyN(&body, r, int64(n)); err != nil {
		return fmt.Errorf("frame of %d bytes ends after %d: %w", n, m, io.ErrUnexpectedEOF)
	}
	dec := json.NewDecoder(&body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return fmt.Errorf("decode frame: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("decode frame: data after the JSON value")
	}
	return nil
}
