package restore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"github.com/crtrace/crtrace/snapshot"
	"github.com/crtrace/crtrace/tracer"
	"golang.org/x/sys/unix"
)

// isRemovedQueue: a queue without a name takes one for a moment.
func isRemovedQueue(d *snapshot.Description) bool { return d.Detail.(*snapshot.MQueue).Removed }

// openMQueue opens a POSIX message queue. The first description of a queue that comes
// takes or makes the queue, opens all others too, and removes its name if it had none.
func openMQueue(b *broker, d *snapshot.Description) (int, error) {
	if fd, ok := b.mqueues[d.ID]; ok {
		return fd, nil
	}
	q := d.Detail.(*snapshot.MQueue)
	name, fd, err := b.takeQueue(q)
	if err != nil {
		return -1, fmt.Errorf("queue /%s: %w", q.Name, err)
	}
	defer unix.Close(fd)
	for i := range b.m.Descriptions {
		o := &b.m.Descriptions[i]
		if other, ok := o.Detail.(*snapshot.MQueue); !ok || !other.SameQueue(q) {
			continue
		}
		fd, err := mqOpen(name, int(o.Flags)&(unix.O_ACCMODE|unix.O_NONBLOCK), 0, nil)
		if err != nil {
			return -1, fmt.Errorf("queue /%s: %w", name, err)
		}
		b.mqueues[o.ID] = b.keep(fd)
	}
	if q.Removed {
		if err := mqUnlink(name); err != nil {
			return -1, fmt.Errorf("mq_unlink: %w", err)
		}
	}
	if err := unix.Fchmod(fd, uint32(q.Mode)); err != nil {
		return -1, fmt.Errorf("permissions of queue /%s: %w", q.Name, err)
	}
	return b.mqueues[d.ID], nil
}

// takeQueue opens the queue if it is still there, else makes it. Its owner may read and
// write it then.
func (b *broker) takeQueue(q *snapshot.MQueue) (name string, fd int, err error) {
	attributes := &tracer.QueueAttributes{MaxMessages: q.MaxMessages, MessageSize: q.MessageSize}
	fd, err = mqOpen(q.Name, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CREAT|unix.O_EXCL, ownMode, attributes)
	switch {
	case errors.Is(err, unix.EEXIST) && q.Removed: // another has the name now
		name = fmt.Sprintf("%.200s.%d", q.Name, os.Getpid())
		fd, err = mqOpen(name, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CREAT|unix.O_EXCL, ownMode, attributes)
		return name, fd, err
	case errors.Is(err, unix.EEXIST):
		fd, err = b.findQueue(q)
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENOSPC):
		err = fmt.Errorf("make it for %d messages of %d bytes: %w (see /proc/sys/fs/mqueue and ulimit -q)", q.MaxMessages, q.MessageSize, err)
	case err == nil:
		err = unix.Fchmod(fd, ownMode) // whatever the umask is
	}
	return q.Name, fd, err
}

// findQueue opens a queue that exists. It was empty at the checkpoint: messages that were
// sent since are kept beside the image.
func (b *broker) findQueue(q *snapshot.MQueue) (fd int, err error) {
	for _, access := range []int{unix.O_RDWR, unix.O_RDONLY, unix.O_WRONLY} {
		if fd, err = mqOpen(q.Name, access|unix.O_NONBLOCK, 0, nil); !errors.Is(err, unix.EACCES) {
			break
		}
	}
	if err != nil {
		return -1, err
	}
	defer unix.Close(fd)
	have, err := tracer.QueueAttributesOf(fd)
	if err != nil {
		return -1, fmt.Errorf("mq_getattr: %w", err)
	}
	if have.MaxMessages != q.MaxMessages || have.MessageSize != q.MessageSize {
		return -1, fmt.Errorf("another queue has this name: it is for %d messages of %d bytes, not %d of %d (remove it by mq_unlink)",
			have.MaxMessages, have.MessageSize, q.MaxMessages, q.MessageSize)
	}
	if err := unix.Fchmod(fd, ownMode); err != nil {
		return -1, fmt.Errorf("it exists, and belongs to another user: %w", err)
	}
	own, err := mqOpen(q.Name, unix.O_RDWR|unix.O_NONBLOCK, 0, nil)
	if err != nil {
		return -1, err
	}
	if err := b.drainQueue(q, own); err != nil {
		return -1, errors.Join(err, unix.Close(own))
	}
	return own, nil
}

// drainQueue takes all messages out of a queue and keeps them.
func (b *broker) drainQueue(q *snapshot.MQueue, fd int) error {
	var kept []snapshot.Message
	for {
		data, priority, err := mqReceive(fd, int(q.MessageSize))
		if errors.Is(err, unix.EAGAIN) {
			break
		}
		if err != nil {
			return fmt.Errorf("mq_receive: %w", err)
		}
		kept = append(kept, snapshot.Message{Type: int64(priority), Data: data})
	}
	if len(kept) == 0 {
		return nil
	}
	return b.keepMessages("mqueue-"+q.Name, kept)
}

// notifyQueues registers again who is told of a message. Closing any descriptor of a queue
// would undo that.
func (r *run) notifyQueues() error {
	for i := range r.m.Descriptions {
		q, ok := r.m.Descriptions[i].Detail.(*snapshot.MQueue)
		if !ok || q.Notify == nil {
			continue
		}
		p := r.processOf(q.Notify.PID)
		fd, ok := p.queueNumber(q)
		if !ok {
			r.warn("process %d is not notified of messages in /%s any more: it has no descriptor of it", q.Notify.PID, q.Name)
			continue
		}
		var event [64]byte // struct sigevent
		binary.LittleEndian.PutUint32(event[8:], uint32(q.Notify.Signal))
		binary.LittleEndian.PutUint32(event[12:], uint32(q.Notify.Notify))
		data, _ := p.stub.Data()
		if err := p.stub.Mem.Write(data, event[:]); err != nil {
			return err
		}
		if _, err := p.call("mq_notify", unix.SYS_MQ_NOTIFY, uint64(fd), data); err != nil {
			return fmt.Errorf("process %d: queue /%s: %w", p.image.PID, q.Name, err)
		}
	}
	return nil
}

// queueNumber returns a descriptor of the process that leads to a queue.
func (p *process) queueNumber(q *snapshot.MQueue) (int, bool) {
	for _, fd := range p.image.FDs {
		o, ok := p.run.m.Descriptions[fd.Description].Detail.(*snapshot.MQueue)
		if ok && o.SameQueue(q) {
			return fd.Num, true
		}
	}
	return 0, false
}
