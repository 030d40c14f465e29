package restore

import (
	"fmt"
	"slices"

	"github.com/crtrace/crtrace/snapshot"
	"golang.org/x/sys/unix"
)

// move notes that a descriptor of the broker goes to its final number.
func (p *process) move(brokerFD int, to snapshot.FD) {
	p.dups = append(p.dups, dup{p.broker.transfer[brokerFD], to})
}

// placeDescriptors moves all descriptors to their numbers, closes the transfer
// numbers and completes what needs the final table.
func (p *process) placeDescriptors() error {
	for _, fd := range p.image.FDs {
		d := &p.run.m.Descriptions[fd.Description]
		r := restorers[d.Detail.Kind()]
		switch {
		case r.open != nil:
			p.move(p.broker.descs[d.ID], fd)
		case r.place != nil:
			p.move(p.broker.stdio[r.place(p.broker, d, fd.Num)], fd)
		}
	}
	s := newScript(p.stub, p.stub.Leader())
	for _, m := range p.dups {
		s.add(fmt.Sprintf("descriptor %d", m.to.Num), unix.SYS_DUP3, uint64(m.from), uint64(m.to.Num), p.cloexec(m.to.Num))
	}
	if err := s.run(); err != nil {
		return err
	}
	if err := p.makeDescriptions(); err != nil {
		return err
	}
	if err := p.lockMappings(); err != nil {
		return err
	}
	post := p.broker.transfer[p.broker.post[1]]
	for _, n := range p.broker.transfer {
		if n != post {
			s.add("close a transfer number", unix.SYS_CLOSE, uint64(n))
		}
	}
	if err := s.run(); err != nil {
		return err
	}
	if err := p.setLocks(); err != nil { // no descriptor of a locked file may be closed any more
		return err
	}
	if err := p.finishDescriptions(); err != nil {
		return err
	}
	_, err := p.call("close the last transfer number", unix.SYS_CLOSE, uint64(post))
	return err
}

// makeDescriptions makes what only a process itself can make; the first one that
// has it does, the others get it from there. All other numbers are taken by now,
// so the kernel gives none of theirs away.
func (p *process) makeDescriptions() error {
	own := map[int]int{} // number by description
	for _, fd := range p.image.FDs {
		d := &p.run.m.Descriptions[fd.Description]
		r := restorers[d.Detail.Kind()]
		if r.make == nil {
			continue
		}
		num, mine := own[d.ID]
		if !mine {
			var err error
			if num, err = p.makeOrReceive(d, r); err != nil {
				return fmt.Errorf("descriptor %d (%s): %w", fd.Num, d.Detail.Kind(), err)
			}
			own[d.ID] = fd.Num
		}
		s := newScript(p.stub, p.stub.Leader())
		what := fmt.Sprintf("descriptor %d", fd.Num)
		if num == fd.Num {
			s.add(what, unix.SYS_FCNTL, uint64(num), unix.F_SETFD, p.cloexec(num)/unix.O_CLOEXEC)
		} else {
			s.add(what, unix.SYS_DUP3, uint64(num), uint64(fd.Num), p.cloexec(fd.Num))
			if !mine {
				s.add("close", unix.SYS_CLOSE, uint64(num))
			}
		}
		if err := s.run(); err != nil {
			return err
		}
		p.run.made[d.ID] = place{p.stub.PID, fd.Num}
	}
	return nil
}

// makeOrReceive brings a description into the process and returns its number.
func (p *process) makeOrReceive(d *snapshot.Description, r restorer) (int, error) {
	if at, ok := p.run.made[d.ID]; ok {
		fd, err := fetch(at)
		if err != nil {
			return -1, err
		}
		defer unix.Close(fd)
		return p.receive(fd)
	}
	return r.make(p, d)
}

// finishDescriptions completes descriptions once each, and sets their owners.
func (p *process) finishDescriptions() error {
	for _, fd := range p.image.FDs {
		if p.run.finished[fd.Description] {
			continue
		}
		p.run.finished[fd.Description] = true
		d := &p.run.m.Descriptions[fd.Description]
		if r := restorers[d.Detail.Kind()]; r.finish != nil {
			if err := r.finish(p, d, fd.Num); err != nil {
				return fmt.Errorf("descriptor %d (%s): %w", fd.Num, d.Detail.Kind(), err)
			}
		}
		if err := p.setOwner(d, fd.Num); err != nil {
			return fmt.Errorf("descriptor %d (%s): owner: %w", fd.Num, d.Detail.Kind(), err)
		}
	}
	return nil
}

// numberOf returns a final number that leads to a description.
func (p *process) numberOf(description int) (int, bool) {
	i := slices.IndexFunc(p.image.FDs, func(f snapshot.FD) bool { return f.Description == description })
	if i < 0 {
		return 0, false
	}
	return p.image.FDs[i].Num, true
}

// cloexec returns O_CLOEXEC if a descriptor has that flag.
func (p *process) cloexec(num int) uint64 {
	for _, f := range p.image.FDs {
		if f.Num == num && f.CloseOnExec {
			return unix.O_CLOEXEC
		}
	}
	return 0
}

// spareNumber returns a number that the process does not use, other than one that it
// has borrowed.
func (p *process) spareNumber(borrowed int) (int, bool) {
	used := map[int]bool{borrowed: true, p.broker.transfer[p.broker.post[1]]: true}
	for _, f := range p.image.FDs {
		used[f.Num] = true
	}
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return 0, false
	}
	for n := 0; uint64(n) < limit.Max; n++ {
		if !used[n] {
			return n, true
		}
	}
	return 0, false
}
