package snapshot

import "fmt"

// MessageQueue is a System V message queue.
type MessageQueue struct {
	IPC
	Limit    int64     `json:"limit"`              // msg_qbytes
	Sender   int       `json:"sender,omitempty"`   // who sent last; it may be in the tree no more
	Receiver int       `json:"receiver,omitempty"` // who received last
	Messages []Message `json:"messages,omitempty"` // in the order in which they were sent
}

// Message is a message that was sent and not received.
type Message struct {
	Type int64  `json:"type"`
	Data []byte `json:"data"`
}

// MaxMessage is the longest message that can be restored, in bytes. The kernel's bound
// (kernel.msgmax) is 8192 unless it was raised.
const MaxMessage = 256 << 10

// check validates a queue.
func (q *MessageQueue) check() error {
	if err := q.IPC.check(); err != nil {
		return err
	}
	switch {
	case q.Limit < 0:
		return fmt.Errorf("a limit of %d bytes", q.Limit)
	case q.Sender < 0 || q.Sender > maxID || q.Receiver < 0 || q.Receiver > maxID:
		return fmt.Errorf("sender %d, receiver %d", q.Sender, q.Receiver)
	case len(q.Messages) > maxCount:
		return fmt.Errorf("%d messages", len(q.Messages))
	}
	for i, m := range q.Messages {
		if m.Type < 1 || len(m.Data) > MaxMessage {
			return fmt.Errorf("message %d: type %d, %d bytes", i, m.Type, len(m.Data))
		}
	}
	return nil
}
