package restore

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/crtrace/crtrace/snapshot"
	"golang.org/x/sys/unix"
)

// openEpoll makes an epoll instance without entries.
func openEpoll(b *broker, _ *snapshot.Description) (int, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("epoll_create1: %w", err)
	}
	return b.keep(fd), nil
}

// finishEpoll adds the entries. They are added by the process, under the numbers
// that they had; where a number means another description by now, that one is
// put aside meanwhile.
func finishEpoll(p *process, d *snapshot.Description, fd int) error {
	s := newScript(p.stub, p.stub.Leader())
	now := map[int]int{}
	for _, f := range p.image.FDs {
		now[f.Num] = f.Description
	}
	for _, e := range d.Detail.(*snapshot.Epoll).Entries {
		event := binary.LittleEndian.AppendUint32(nil, uint32(e.Events))
		event = binary.LittleEndian.AppendUint64(event, uint64(e.Data)) // struct epoll_event is packed
		add := func() {
			s.room(len(event))
			s.add(fmt.Sprintf("epoll entry %d", e.FD), unix.SYS_EPOLL_CTL, uint64(fd), unix.EPOLL_CTL_ADD, uint64(e.FD), s.bytes(event))
		}
		holder, taken := now[e.FD]
		if taken && holder == e.Description {
			add()
			continue
		}
		from, borrowed, err := p.borrow(s, e.Description)
		if err != nil {
			return fmt.Errorf("epoll entry %d: %w", e.FD, err)
		}
		spare, ok := p.spareNumber(from)
		if taken && !ok {
			return fmt.Errorf("no descriptor number is left to put number %d aside", e.FD)
		}
		cloexec := uint64(0)
		if taken {
			cloexec = p.cloexec(e.FD)
			s.add("put a descriptor aside", unix.SYS_DUP2, uint64(e.FD), uint64(spare))
		}
		s.add("old number of an epoll entry", unix.SYS_DUP2, uint64(from), uint64(e.FD))
		add()
		if taken {
			s.add("bring a descriptor back", unix.SYS_DUP3, uint64(spare), uint64(e.FD), cloexec)
			s.add("close", unix.SYS_CLOSE, uint64(spare))
		} else {
			s.add("close", unix.SYS_CLOSE, uint64(e.FD))
		}
		if borrowed && from != e.FD {
			s.add("close", unix.SYS_CLOSE, uint64(from))
		}
	}
	return s.run()
}

// borrow returns a number that leads to a description; one that is only in flight,
// or that another process has, the process gets for the moment. A script that waits
// is run first, as it may use the same number.
func (p *process) borrow(s *script, description int) (num int, borrowed bool, err error) {
	if num, ok := p.numberOf(description); ok {
		return num, false, nil
	}
	fd := p.broker.descs[description]
	if fd < 0 {
		return 0, false, errors.New("no descriptor leads to what it watches")
	}
	if err := s.run(); err != nil {
		return 0, false, err
	}
	num, err = p.receive(fd)
	return num, true, err
}
