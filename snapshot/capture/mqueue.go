package capture

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/crtrace/crtrace/snapshot"
	"github.com/crtrace/crtrace/tracer"
	"golang.org/x/sys/unix"
)

// How a process is told of a message.
const (
	sigevSignal = 0
	sigevNone   = 1
)

// isMQueue matches POSIX message queues.
func isMQueue(v *view) bool {
	const magic = 0x19800202 // MQUEUE_MAGIC
	var fs unix.Statfs_t
	return v.st.Mode&unix.S_IFMT == unix.S_IFREG && v.info.Flags&unix.O_PATH == 0 &&
		unix.Fstatfs(v.fd, &fs) == nil && fs.Type == magic
}

// takeMQueue collects a description of a queue. Messages can't be read without taking
// them out, and whoever would put them back may be killed in between: a queue with messages
// is refused.
func takeMQueue(t *target, v *view) (snapshot.Detail, error) {
	name, removed := v.link, v.st.Nlink == 0
	if removed {
		name, _ = trimDeleted(name)
	}
	a, err := tracer.QueueAttributesOf(v.fd)
	if err != nil {
		return nil, fmt.Errorf("mq_getattr: %w", err)
	}
	if a.Messages > 0 && !t.surveying() { // until it is stopped they come and go
		t.refuse(v.object(), fmt.Sprintf("%d message(s) wait in the queue, which can't be copied", a.Messages), tryAgain)
		return nil, nil
	}
	q := &snapshot.MQueue{
		Name: strings.TrimPrefix(name, "/"), Dev: snapshot.Hex(v.st.Dev), Ino: v.st.Ino, Removed: removed,
		Mode: snapshot.Hex(v.st.Mode & 0o7777), MaxMessages: a.MaxMessages, MessageSize: a.MessageSize,
	}
	if v.st.Uid != uint32(os.Geteuid()) {
		t.refuse(v.object(), fmt.Sprintf("the queue belongs to user %d", v.st.Uid), "")
		return nil, nil
	}
	if !t.knowsQueue(q) {
		q.Notify, err = t.notification(v)
	}
	return q, err
}

// knowsQueue tells whether a description that leads to the same queue was taken before.
func (c *collection) knowsQueue(q *snapshot.MQueue) bool {
	return slices.ContainsFunc(c.m.Descriptions, func(d snapshot.Description) bool {
		o, ok := d.Detail.(*snapshot.MQueue)
		return ok && o.SameQueue(q)
	})
}

// notification returns who is told when a message comes.
func (t *target) notification(v *view) (*snapshot.MQNotify, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/self/fd/%d", v.fd))
	if err != nil { // the permissions forbid to open it once more
		buf := make([]byte, 128)
		n, perr := unix.Pread(v.fd, buf, 0)
		if perr != nil {
			return nil, fmt.Errorf("read its state: %w", err)
		}
		text = buf[:n]
	}
	var messages int64
	var n snapshot.MQNotify
	_, err = fmt.Sscanf(string(text), "QSIZE:%d NOTIFY:%d SIGNO:%d NOTIFY_PID:%d", &messages, &n.Notify, &n.Signal, &n.PID)
	if err != nil {
		return nil, fmt.Errorf("its state %q: %w", text, err)
	}
	if n.PID == 0 || !slices.ContainsFunc(t.targets, func(o *target) bool { return o.pid == n.PID }) {
		return nil, nil
	}
	if n.Notify == sigevNone {
		n.Signal = 0
	}
	if n.Notify != sigevNone && n.Notify != sigevSignal {
		t.refuse(v.object(), "a thread is to be started when a message comes (SIGEV_THREAD)", "call mq_notify(queue, NULL) before the checkpoint")
		return nil, nil
	}
	return &n, nil
}

// surveyNotifications refuses processes that could see with which value they are notified:
// the kernel does not tell it. A handler without SA_SIGINFO does not get the value; whoever
// waits for a blocked signal does.
func (c *collection) surveyNotifications() {
	for _, d := range c.m.Descriptions {
		q, ok := d.Detail.(*snapshot.MQueue)
		if !ok || q.Notify == nil || q.Notify.Notify != sigevSignal {
			continue
		}
		for _, t := range c.targets {
			if t.pid == q.Notify.PID && t.seesValue(q.Notify.Signal) {
				t.refuse(fmt.Sprintf("message queue /%s", q.Name), fmt.Sprintf("signal %d is to be sent when a message comes, with a value that can't be found out", q.Notify.Signal),
					"call mq_notify(queue, NULL) before the checkpoint, or use a handler without SA_SIGINFO")
			}
		}
	}
}

// seesValue tells whether a stopped process can see the value of a signal.
func (t *target) seesValue(signal int) bool {
	const saSigInfo, ignored = 4, 1
	bit := snapshot.Hex(1) << (signal - 1)
	for i := range t.out.Threads {
		if t.out.Threads[i].Mask&bit != 0 {
			return true
		}
	}
	return slices.ContainsFunc(t.out.Actions, func(a snapshot.Action) bool {
		return a.Signal == signal && a.Handler > ignored && a.Flags&saSigInfo != 0
	})
}
