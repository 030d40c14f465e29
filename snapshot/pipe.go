package snapshot

import (
	"errors"
	"fmt"
)

// KindPipe is the kind of pipes and FIFOs with both ends inside the tree.
const KindPipe Kind = "pipe"

// Pipe is one end of a pipe or FIFO. All ends of one pipe have the same Ino;
// the first of them in Manifest.Descriptions carries the content.
type Pipe struct {
	Ino      uint64 `json:"ino"`
	Dev      Hex    `json:"dev,omitempty"`  // of a FIFO
	FIFO     string `json:"fifo,omitempty"` // its path; empty for a pipe without a name
	Capacity int    `json:"capacity"`       // bytes
	// Fresh says that this reading end of a FIFO has not had a writer since it was
	// opened: poll(2) is silent about it, where it reports a hangup after a writer.
	Fresh   bool   `json:"fresh,omitempty"`
	Content []byte `json:"content,omitempty"`
	// Packets are the lengths of the packets in Content when the pipe is in
	// packet mode (O_DIRECT).
	Packets []int `json:"packets,omitempty"`
}

// Kind implements Detail.
func (*Pipe) Kind() Kind { return KindPipe }

// move implements movable.
func (p *Pipe) move(m *mover) { m.path(&p.FIFO) }

// check implements Detail.
func (p *Pipe) check(*validator) error {
	if p.FIFO != "" {
		if err := checkPath(p.FIFO); err != nil {
			return err
		}
	}
	if p.Fresh && (p.FIFO == "" || len(p.Content) > 0) {
		return errors.New("a pipe that nobody has written to, with a content or without a name")
	}
	if p.Capacity < 0 || len(p.Content) > p.Capacity {
		return fmt.Errorf("%d bytes in a pipe of %d", len(p.Content), p.Capacity)
	}
	rest := len(p.Content)
	for _, n := range p.Packets {
		if n < 1 || n > rest {
			return fmt.Errorf("a packet of %d bytes in the last %d of the content", n, rest)
		}
		rest -= n
	}
	if len(p.Packets) > 0 && rest != 0 {
		return fmt.Errorf("%d bytes of the content belong to no packet", rest)
	}
	return nil
}
