package restore

import (
	"encoding/binary"
	"fmt"

	"github.com/crtrace/crtrace/snapshot"
	"github.com/crtrace/crtrace/tracer"
	"golang.org/x/sys/unix"
)

// setActions sets all signal actions but that of SIGTRAP, which the stub needs
// for its breakpoints. Signals that are not in the image get the default action:
// the process has inherited what crtrace was started with.
func (p *process) setActions() error {
	s := newScript(p.stub, p.stub.Leader())
	s.compat = p.image.Compat
	for sig := 1; sig <= 64; sig++ {
		if sig == int(unix.SIGKILL) || sig == int(unix.SIGSTOP) || sig == int(unix.SIGTRAP) {
			continue
		}
		b := p.action(sig)
		s.room(len(b))
		s.add(fmt.Sprintf("action of signal %d", sig), p.sigactionNR(), uint64(sig), s.bytes(b), 0, 8)
	}
	return s.run()
}

// sigactionNR is rt_sigaction's number. Handlers of a 32-bit program must be set
// by a 32-bit call: the kernel notes by it which kind of frame they want.
func (p *process) sigactionNR() int {
	const rtSigaction32 = 174
	if p.image.Compat {
		return rtSigaction32
	}
	return unix.SYS_RT_SIGACTION
}

// action encodes the kernel's struct sigaction.
func (p *process) action(sig int) []byte {
	a := snapshot.Action{Signal: sig}
	for _, have := range p.image.Actions {
		if have.Signal == sig {
			a = have
		}
	}
	var b []byte
	for _, v := range []snapshot.Hex{a.Handler, a.Flags, a.Restorer} {
		if p.image.Compat {
			b = binary.LittleEndian.AppendUint32(b, uint32(v))
		} else {
			b = binary.LittleEndian.AppendUint64(b, uint64(v))
		}
	}
	return binary.LittleEndian.AppendUint64(b, uint64(a.Mask))
}

// setTrapAction sets the action of SIGTRAP. No batch can run after it.
func (p *process) setTrapAction() error {
	data, _ := p.stub.Data()
	if err := p.stub.Mem.Write(data, p.action(int(unix.SIGTRAP))); err != nil {
		return err
	}
	call := p.stub.Leader().Call
	if p.image.Compat {
		call = p.stub.Leader().Call32
	}
	_, err := call(p.sigactionNR(), uint64(unix.SIGTRAP), data, 0, 8)
	return err
}

// blockSignals keeps the signals that come from here on for the program: those of
// timers that go off before it runs, and those that are queued again.
func (p *process) blockSignals() error {
	for _, th := range p.threads {
		if err := th.BlockSignals(); err != nil {
			return err
		}
	}
	return nil
}

// queueSignals queues the pending signals again, those of the process and those
// of each thread. A process may send itself a signal with any siginfo.
func (p *process) queueSignals() error {
	leader := p.stub.Leader()
	for _, si := range p.image.Pending {
		err := p.queue(leader, si, unix.SYS_RT_SIGQUEUEINFO, uint64(p.stub.PID), uint64(si.Signal))
		if err != nil {
			return err
		}
	}
	for i := range p.image.Threads {
		th := p.threads[i]
		for _, si := range p.image.Threads[i].Pending {
			err := p.queue(th, si, unix.SYS_RT_TGSIGQUEUEINFO, uint64(p.stub.PID), uint64(th.TID), uint64(si.Signal))
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *process) queue(th *tracer.StubThread, si snapshot.Siginfo, nr int, args ...uint64) error {
	data, _ := p.stub.Data()
	if err := p.stub.Mem.Write(data, si.Raw); err != nil {
		return err
	}
	if _, err := th.Call(nr, append(args, data)...); err != nil {
		return fmt.Errorf("pending signal %d: %w", si.Signal, err)
	}
	return nil
}
