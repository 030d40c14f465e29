package restore

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// Most of what a process will have open it inherits. What another process had to
// make, or what comes into being later, is sent through a socket that every
// process holds an end of.

// openPost makes the socket.
func (b *broker) openPost() error {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socketpair: %w", err)
	}
	for i := range ends {
		b.post[i] = b.keep(ends[i])
	}
	return nil
}

// fetch duplicates a descriptor of a process that we trace.
func fetch(at place) (int, error) {
	pidfd, err := unix.PidfdOpen(at.pid, 0)
	if err != nil {
		return -1, fmt.Errorf("pidfd_open: %w", err)
	}
	defer unix.Close(pidfd)
	fd, err := unix.PidfdGetfd(pidfd, at.fd, 0)
	if err != nil {
		return -1, fmt.Errorf("pidfd_getfd: %w", err)
	}
	return fd, nil
}

// receive gives the process a descriptor of ours and returns its number there.
func (p *process) receive(fd int) (int, error) {
	if err := unix.Sendmsg(p.broker.post[0], []byte{0}, unix.UnixRights(fd), nil, 0); err != nil {
		return -1, fmt.Errorf("send a descriptor: %w", err)
	}
	// A struct msghdr, and behind it what it points at.
	const iov, payload, control, controlLen = 56, 72, 80, 24
	data, _ := p.stub.Data()
	var b [control + controlLen]byte
	for at, v := range map[int]uint64{
		16: data + iov, 24: 1, 32: data + control, 40: controlLen, iov: data + payload, iov + 8: 1,
	} {
		binary.LittleEndian.PutUint64(b[at:], v)
	}
	if err := p.stub.Mem.Write(data, b[:]); err != nil {
		return -1, err
	}
	post := p.broker.transfer[p.broker.post[1]]
	if _, err := p.call("recvmsg", unix.SYS_RECVMSG, uint64(post), data, 0); err != nil {
		return -1, err
	}
	if err := p.stub.Mem.Read(data+control, b[:controlLen]); err != nil {
		return -1, err
	}
	// struct cmsghdr: length, level, kind, then the number
	if kind := binary.LittleEndian.Uint32(b[12:]); kind != unix.SCM_RIGHTS {
		return -1, fmt.Errorf("recvmsg brought a control message of kind %d", kind)
	}
	return int(int32(binary.LittleEndian.Uint32(b[16:]))), nil
}
