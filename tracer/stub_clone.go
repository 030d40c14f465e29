package tracer

import (
	"encoding/binary"
	"fmt"

	"github.com/crtrace/crtrace/parasite"
	"github.com/crtrace/crtrace/regs"
	"golang.org/x/sys/unix"
)

// cloneArgs say what is made: a task with an id of choice takes clone3, which a
// container's filter may forbid; any id will do with clone.
type cloneArgs struct {
	flags    uint64
	stack    uint64
	stackLen uint64
	setTID   int // 0: any
	exit     unix.Signal
}

// clone makes a task. It is traced and stopped.
func (t *StubThread) clone(a cloneArgs) (int, error) {
	a.flags |= unix.CLONE_PTRACE
	if a.setTID != 0 {
		return t.clone3(a)
	}
	id, err := t.Call(unix.SYS_CLONE, a.flags|uint64(a.exit), a.stack+a.stackLen, 0, 0, 0)
	if err != nil {
		return 0, fmt.Errorf("clone: %w", err)
	}
	return int(id), nil
}

// clone3 makes a task with an id of choice.
func (t *StubThread) clone3(a cloneArgs) (int, error) {
	const idAt, size = 88, 80 // CLONE_ARGS_SIZE_VER2, where the id is put; CLONE_ARGS_SIZE_VER1
	data, _ := t.stub.Data()
	var b [idAt + 4]byte // struct clone_args
	for i, v := range map[int]uint64{0: a.flags, 4: uint64(a.exit), 5: a.stack, 6: a.stackLen, 8: data + idAt, 9: 1} {
		binary.LittleEndian.PutUint64(b[8*i:], v)
	}
	binary.LittleEndian.PutUint32(b[idAt:], uint32(a.setTID))
	if err := t.stub.Mem.Write(data, b[:]); err != nil {
		return 0, err
	}
	id, err := t.Call(unix.SYS_CLONE3, data, size)
	if err != nil {
		return 0, fmt.Errorf("clone3: %w", err)
	}
	return int(id), nil
}

// Fork makes a new process: a child of the thread, or of the thread's parent when
// sibling is set. id is the wanted process id, 0 for any; it takes
// CAP_CHECKPOINT_RESTORE. The child has the same area as the stub.
func (t *StubThread) Fork(id int, sibling bool) (*Stub, error) {
	a := cloneArgs{setTID: id, exit: unix.SIGCHLD}
	if sibling { // the kernel takes the exit signal of the thread itself then
		a.flags, a.exit = unix.CLONE_PARENT, 0
	}
	pid, err := t.clone(a)
	if err != nil {
		return nil, err
	}
	c := &Stub{PID: pid, Area: t.stub.Area, parent: t.stub}
	if sibling {
		c.parent = t.stub.parent
	}
	c.leader = &StubThread{TID: pid, stub: c, base: t.base}
	if err := c.leader.await(stopTrap); err != nil {
		return nil, err
	}
	if c.Mem, err = OpenMemory(pid); err != nil {
		return nil, err
	}
	return c, nil
}

// Thread makes a new thread of the process. id is as for Fork.
func (s *Stub) Thread(id int) (*StubThread, error) {
	const flags = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND |
		unix.CLONE_THREAD | unix.CLONE_SYSVSEM
	tid, err := s.leader.clone(cloneArgs{flags: flags, stack: s.Area, stackLen: AreaLen, setTID: id})
	if err != nil {
		return nil, err
	}
	s.threads = append(s.threads, tid)
	t := &StubThread{TID: tid, stub: s, base: s.leader.base}
	return t, t.await(stopTrap)
}

// Exit ends a thread that is not the leader and waits until its id is free.
func (t *StubThread) Exit() error {
	entry := areaCode + uint64(parasite.Call().Entry)
	if err := t.start(unix.SYS_EXIT, entry, func(*regs.AMD64) {}); err != nil {
		return err
	}
	for {
		if err := resume(unix.PTRACE_CONT, t.TID, 0); err != nil {
			return err
		}
		s, err := wait(t.TID, false)
		if err != nil || s.kind == stopGone {
			return err
		}
	}
}

// Exec replaces the program of the process and stops before its first
// instruction, in an address space that holds the new program and an area at
// the given address.
func (s *Stub) Exec(path string, area uint64) error {
	data, _ := s.Data()
	var b []byte
	b = binary.LittleEndian.AppendUint64(b, data+32) // argv[0]
	b = binary.LittleEndian.AppendUint64(b, 0)
	b = binary.LittleEndian.AppendUint64(b, 0) // empty environment
	b = append(b, make([]byte, 8)...)
	b = append(b, cString(path)...)
	if err := s.Mem.Write(data, b); err != nil {
		return err
	}
	if err := s.leader.execve(data+32, data, data+16); err != nil {
		return fmt.Errorf("execute %s: %w", path, err)
	}
	return s.settle(area)
}

// execve makes the call and goes through its stops: entry, PTRACE_EVENT_EXEC,
// exit; without the event when it fails.
func (t *StubThread) execve(path, argv, envp uint64) error {
	entry := areaCode + uint64(parasite.Call().Entry)
	err := t.start(unix.SYS_EXECVE, entry, func(r *regs.AMD64) { r.Rdi, r.Rsi, r.Rdx = path, argv, envp })
	if err != nil {
		return err
	}
	if err := t.step(); err != nil {
		return err
	}
	executed := false
	for {
		if err := resume(unix.PTRACE_SYSCALL, t.TID, 0); err != nil {
			return err
		}
		s, err := wait(t.TID, true)
		switch {
		case err != nil:
			return err
		case s.kind == stopGone:
			return fmt.Errorf("task %d: %w", t.TID, ErrTaskGone)
		case s.kind == stopEvent && s.event == unix.PTRACE_EVENT_EXEC:
			executed = true
		case s.kind == stopSyscall && executed:
			return nil
		case s.kind == stopSyscall:
			_, err := t.result(unix.SYS_EXECVE)
			return err
		}
	}
}
