package snapshot

import (
	"fmt"
	"strings"
)

// KindMQueue is the kind of POSIX message queues.
const KindMQueue Kind = "mqueue"

// MQueue is an open description of a POSIX message queue, which is empty. Several can
// lead to one queue, which Dev and Ino identify.
type MQueue struct {
	Name        string `json:"name"` // without the slash
	Dev         Hex    `json:"dev"`
	Ino         uint64 `json:"ino"`
	Removed     bool   `json:"removed,omitempty"` // mq_unlink
	Mode        Hex    `json:"mode"`              // permissions
	MaxMessages int64  `json:"max_messages"`
	MessageSize int64  `json:"message_size"` // bytes
	// Notify is set in one of the descriptions of a queue, while a process waits to be
	// told of a message.
	Notify *MQNotify `json:"notify,omitempty"`
}

// MQNotify is what mq_notify(3) has registered. The value that goes with the signal is
// not known.
type MQNotify struct {
	PID    int `json:"pid"`
	Notify int `json:"notify"` // SIGEV_SIGNAL or SIGEV_NONE
	Signal int `json:"signal,omitempty"`
}

// SameQueue tells whether both lead to one queue.
func (q *MQueue) SameQueue(o *MQueue) bool { return q.Dev == o.Dev && q.Ino == o.Ino }

// Kind implements Detail.
func (*MQueue) Kind() Kind { return KindMQueue }

// check implements Detail.
func (q *MQueue) check(v *validator) error {
	const longest = 255 // NAME_MAX
	if n := len(q.Name); n == 0 || n > longest || q.Name == "." || q.Name == ".." || strings.Contains(q.Name, "/") {
		return fmt.Errorf("%q is not the name of a queue", q.Name)
	}
	if q.MaxMessages < 1 || q.MessageSize < 1 || q.Mode > 0o7777 {
		return fmt.Errorf("%d messages of %d bytes, permissions %v", q.MaxMessages, q.MessageSize, q.Mode)
	}
	n := q.Notify
	if n == nil {
		return nil
	}
	const sigevNone = 1
	if v.pids[n.PID] == nil {
		return fmt.Errorf("process %d, which is notified, is not in the tree", n.PID)
	}
	if n.Notify < 0 || n.Notify > sigevNone {
		return fmt.Errorf("notification of kind %d", n.Notify)
	}
	return checkSignal(n.Signal, n.Notify == sigevNone)
}
