package restore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/crtrace/crtrace/snapshot"
	"github.com/crtrace/crtrace/tracer"
	"github.com/crtrace/crtrace/tracer/procfs"
	"golang.org/x/sys/unix"
)

// queueKind is message queues.
var queueKind = &ipcKind{
	name: "message queue",
	next: "/proc/sys/kernel/msg_next_id",
	list: func() ([]ipcState, error) {
		table, err := procfs.MessageQueues()
		out := make([]ipcState, len(table))
		for i := range table {
			out[i] = ipcState{IPC: table[i].IPC, messages: table[i].Messages, look: table[i].Uses}
		}
		return out, err
	},
	make:   func() (int, error) { return makeQueue(unix.IPC_PRIVATE) },
	remove: func(id int) error { return control(unix.SYS_MSGCTL, id, unix.IPC_RMID, 0) },
}

// makeQueue makes a queue for this user.
func makeQueue(key int) (int, error) {
	id, _, errno := unix.Syscall(unix.SYS_MSGGET, uintptr(key), unix.IPC_CREAT|unix.IPC_EXCL|ownMode, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(id), nil
}

// newQueue is a message queue on its way back.
func newQueue(q *snapshot.MessageQueue) *ipcObject {
	return &ipcObject{
		kind: queueKind, image: &q.IPC, make: makeQueue,
		unchanged: func(now *ipcState) bool {
			limit, err := tracer.MessageQueueLimit(now.ID)
			return err == nil && limit == q.Limit && now.messages == 0 && len(q.Messages) == 0
		},
	}
}

// fillQueue gives a queue its messages. Messages that the program has sent since the
// checkpoint are kept beside the image, as the tails of files are.
func (r *run) fillQueue(q *snapshot.MessageQueue, o *ipcObject) error {
	id := uint64(o.id)
	room := int64(len(q.Messages)) // there may not be more messages than bytes, either
	bytes := int64(0)
	for _, m := range q.Messages {
		bytes += int64(len(m.Data))
	}
	root := r.processes[0]
	s := newScript(root.stub, root.stub.Leader())
	err := root.setQueue(s, q, id, ownMode, max(room, bytes, q.Limit))
	if err == nil && o.found {
		err = r.emptyQueue(q, id)
	}
	if err == nil {
		err = r.noteReceiver(q, id)
	}
	if err != nil {
		return err
	}
	sender := r.processOf(q.Sender)
	for i, m := range q.Messages {
		if err := sender.send(id, m); err != nil {
			return fmt.Errorf("message %d: %w", i, err)
		}
	}
	return root.setQueue(s, q, id, uint32(q.Mode), q.Limit)
}

// setQueue sets permissions and the limit of a queue.
func (p *process) setQueue(s *script, q *snapshot.MessageQueue, id uint64, mode uint32, limit int64) error {
	const size, qbytes = 120, 88 // of struct msqid64_ds; msg_qbytes in it
	b := encodePerm(&q.IPC, mode, size)
	binary.LittleEndian.PutUint64(b[qbytes:], uint64(limit))
	s.add(fmt.Sprintf("IPC_SET with a limit of %d bytes", limit), unix.SYS_MSGCTL, id, unix.IPC_SET, s.bytes(b))
	err := s.run()
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("%w (see kernel.msgmnb)", err)
	}
	return err
}

// emptyQueue takes all messages out of a queue and keeps them.
func (r *run) emptyQueue(q *snapshot.MessageQueue, id uint64) error {
	var kept []snapshot.Message
	for {
		m, err := r.processes[0].receiveMessage(id)
		if errors.Is(err, unix.ENOMSG) {
			break
		}
		if err != nil {
			return err
		}
		kept = append(kept, m)
	}
	known := len(kept) <= len(q.Messages) && slices.EqualFunc(kept, q.Messages[len(q.Messages)-len(kept):],
		func(a, b snapshot.Message) bool { return a.Type == b.Type && slices.Equal(a.Data, b.Data) })
	if known {
		return nil // all of them are in the image
	}
	return r.broker.keepMessages(fmt.Sprintf("queue-%d", id), kept)
}

// noteReceiver has the process that received last receive once more, and the one that
// sent last send.
func (r *run) noteReceiver(q *snapshot.MessageQueue, id uint64) error {
	if q.Receiver == 0 {
		return nil
	}
	if err := r.processOf(q.Sender).send(id, snapshot.Message{Type: 1}); err != nil {
		return err
	}
	_, err := r.processOf(q.Receiver).receiveMessage(id)
	return err
}

const ipcNoWait = 0o4000 // IPC_NOWAIT

// send has a process send a message.
func (p *process) send(id uint64, m snapshot.Message) error {
	s := newScript(p.stub, p.stub.Leader())
	b := append(binary.LittleEndian.AppendUint64(nil, uint64(m.Type)), m.Data...)
	s.room(len(b))
	s.add("msgsnd", unix.SYS_MSGSND, id, s.bytes(b), uint64(len(m.Data)), ipcNoWait)
	return s.run()
}

// receiveMessage has a process receive the first message, which must not be longer than
// what an image can hold.
func (p *process) receiveMessage(id uint64) (snapshot.Message, error) {
	const head, noError = 8, 0o10000 // the type; MSG_NOERROR
	data, size := p.stub.Data()
	most := min(size-head, snapshot.MaxMessage)
	n, err := p.call("msgrcv", unix.SYS_MSGRCV, id, data, uint64(most), 0, ipcNoWait|noError)
	if err != nil {
		return snapshot.Message{}, err
	}
	b := make([]byte, head+n)
	if err := p.stub.Mem.Read(data, b); err != nil {
		return snapshot.Message{}, err
	}
	return snapshot.Message{Type: int64(binary.LittleEndian.Uint64(b)), Data: b[head:]}, nil
}
