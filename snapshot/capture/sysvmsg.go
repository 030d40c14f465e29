package capture

import (
	"errors"
	"fmt"

	"github.com/crtrace/crtrace/snapshot"
	"github.com/crtrace/crtrace/tracer"
	"github.com/crtrace/crtrace/tracer/procfs"
	"golang.org/x/sys/unix"
)

// takeMessageQueues collects the message queues of the tree.
func (c *collection) takeMessageQueues() error {
	table, err := procfs.MessageQueues()
	if err != nil {
		return fmt.Errorf("message queues: %w", err)
	}
	for i := range table {
		if err := c.takeMessageQueue(&table[i]); err != nil {
			return fmt.Errorf("%s %d: %w", kindQueue, table[i].ID, err)
		}
	}
	return nil
}

func (c *collection) takeMessageQueue(q *procfs.MessageQueue) error {
	waits := c.waitsFor(kindQueue, q.ID)
	out, ok := c.ownsIPC(kindQueue, &q.IPC, waits, q.Uses())
	if !ok || len(c.problems) > 0 {
		return nil
	}
	limit, err := tracer.MessageQueueLimit(q.ID)
	if c.passesOver(err, kindQueue, q.ID, !out.Guessed) {
		return nil
	}
	if err != nil {
		return err
	}
	if c.surveying() {
		return nil
	}
	queue := snapshot.MessageQueue{IPC: *out, Limit: limit, Sender: q.SPID, Receiver: q.RPID}
	buf := make([]byte, max(q.Bytes, 1)) // all of them, so each has room
	for n := range q.Messages {
		kind, size, err := copyMessage(q.ID, n, buf)
		switch {
		case errors.Is(err, unix.ENOSYS):
			c.targets[0].refuse(fmt.Sprintf("%s %d", kindQueue, q.ID), "this kernel does not show messages (CONFIG_CHECKPOINT_RESTORE)", "")
			return nil
		case err != nil:
			return fmt.Errorf("message %d: %w", n, err)
		case size > snapshot.MaxMessage:
			c.targets[0].refuse(fmt.Sprintf("%s %d", kindQueue, q.ID), fmt.Sprintf("it holds a message of %d bytes; crtrace can restore up to %d", size, snapshot.MaxMessage), tryAgain)
			return nil
		}
		queue.Messages = append(queue.Messages, snapshot.Message{Type: kind, Data: append([]byte{}, buf[:size]...)})
	}
	c.m.Queues = append(c.m.Queues, queue)
	return nil
}
