package tracer

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"syscall"

	"github.com/crtrace/crtrace/parasite"
	"github.com/crtrace/crtrace/regs"
	"github.com/crtrace/crtrace/tracer/procfs"
	"golang.org/x/sys/unix"
)

// AreaLen is the size in bytes of the area that a Stub has in its process: code
// in the first page, then room for arguments and results.
const AreaLen = 1 << 20

// areaData is where the room for arguments begins in the area.
const areaData = 0x1000

// stubOptions: a stub dies with its tracer, and tells of its execve.
const stubOptions = unix.PTRACE_O_EXITKILL | unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACEEXEC

// Stub is a process that is being rebuilt. All its threads are stopped except
// while a call of theirs runs.
type Stub struct {
	PID  int
	Area uint64 // AreaLen bytes, readable, writable, executable
	Mem  *Memory

	leader  *StubThread
	threads []int // ids of the others
	parent  *Stub // nil: a child of the tracer
}

// StubThread is one thread of a stub.
type StubThread struct {
	TID  int
	stub *Stub
	base regs.AMD64 // registers that calls start from
}

// Leader returns the thread whose id is the process id.
func (s *Stub) Leader() *StubThread { return s.leader }

// Data returns the address of the room for arguments and its size in bytes.
func (s *Stub) Data() (addr uint64, size int) { return s.Area + areaData, AreaLen - areaData }

// Spawn starts a program and stops it before its first instruction. files become
// its descriptors by their index; ^uintptr(0) leaves a number free.
func Spawn(path string, files []uintptr, env []string) (*Stub, error) {
	attr := &syscall.ProcAttr{Files: files, Env: env, Sys: &syscall.SysProcAttr{Ptrace: true}}
	pid, err := syscall.ForkExec(path, []string{path}, attr)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	s := &Stub{PID: pid}
	s.leader = &StubThread{TID: pid, stub: s}
	err = s.adopt()
	if err == nil {
		err = s.settle(0)
	}
	if err != nil {
		return nil, errors.Join(err, s.Kill(), Reap(pid))
	}
	return s, nil
}

// adopt turns the tracing by PTRACE_TRACEME into one by PTRACE_SEIZE, which
// allows interrupts and is inherited by children. The way leads over a group
// stop, so that the process does not run in between.
func (s *Stub) adopt() error {
	if err := s.leader.await(stopSignal); err != nil {
		return err
	}
	if err := detach(s.PID, unix.SIGSTOP); err != nil {
		return err
	}
	if _, _, err := waitTask(s.PID, unix.WSTOPPED); err != nil {
		return fmt.Errorf("waitid for process %d: %w", s.PID, err)
	}
	if err := seize(s.PID, stubOptions); err != nil {
		return err
	}
	return s.leader.await(stopGroup)
}

// settle takes a process that is stopped in a fresh address space, makes its
// area and removes everything else. at is the address of the area, 0: anywhere.
func (s *Stub) settle(at uint64) error {
	var err error
	if s.Mem != nil {
		s.Mem.Close()
	}
	if s.Mem, err = OpenMemory(s.PID); err != nil {
		return err
	}
	maps, err := procfs.ReadMaps(s.PID)
	if err != nil {
		return err
	}
	if at == 0 {
		if at, err = freeArea(maps, AreaLen); err != nil {
			return err
		}
	}
	r, err := getRegs(s.PID)
	if err != nil {
		return err
	}
	// The first calls run where the program would have begun.
	s.Area = r.Rip - areaCode
	if err := s.Mem.Write(r.Rip, []byte{0x0f, 0x05}); err != nil {
		return err
	}
	s.leader.base = regs.AMD64{Cs: regs.UserCS64, Ss: regs.UserSS, Eflags: 0x202, Rsp: r.Rsp}
	const prot = unix.PROT_READ | unix.PROT_WRITE | unix.PROT_EXEC
	_, err = s.leader.Call(unix.SYS_MMAP, at, AreaLen, prot,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|mapFixedNoReplace, ^uint64(0), 0)
	if err != nil {
		return fmt.Errorf("work area at 0x%x: %w", at, err)
	}
	s.Area = at
	call, batch := parasite.Call().Bytes, parasite.Batch().Bytes
	if err := s.Mem.Write(at+areaCode, call); err != nil {
		return err
	}
	return s.Mem.Write(at+areaBatch, batch)
}

// Places of the code in the area.
const (
	areaCode  = 0x000
	areaBatch = 0x800
)

// Strip removes all mappings but the area.
func (s *Stub) Strip() error {
	maps, err := procfs.ReadMaps(s.PID)
	if err != nil {
		return err
	}
	for _, m := range maps {
		if m.Start == s.Area || m.Path == "[vsyscall]" {
			continue
		}
		if _, err := s.leader.Call(unix.SYS_MUNMAP, m.Start, m.End-m.Start); err != nil {
			return fmt.Errorf("unmap %s at 0x%x: %w", m.Path, m.Start, err)
		}
	}
	return nil
}

// Call makes one system call in the thread and returns its result. A call that
// fails returns a *RemoteError.
func (t *StubThread) Call(nr int, a ...uint64) (uint64, error) {
	return t.call(nr, areaCode+uint64(parasite.Call().Entry), func(r *regs.AMD64) {
		for i, at := range args64(r) {
			if i < len(a) {
				*at = a[i]
			}
		}
	})
}

// Call32 makes one system call of the 32-bit table.
func (t *StubThread) Call32(nr int, a ...uint64) (uint64, error) {
	return t.call(nr, areaCode+uint64(parasite.Call().Entry32), func(r *regs.AMD64) {
		for i, at := range args32(r) {
			if i < len(a) {
				*at = a[i]
			}
		}
	})
}

func (t *StubThread) call(nr int, entry uint64, set func(*regs.AMD64)) (uint64, error) {
	if err := t.start(nr, entry, set); err != nil {
		return 0, err
	}
	for range 2 { // entry and exit of the call
		if err := t.step(); err != nil {
			return 0, err
		}
	}
	return t.result(nr)
}

// start points the thread at a system call instruction.
func (t *StubThread) start(nr int, entry uint64, set func(*regs.AMD64)) error {
	r := t.base
	r.Rip, r.Rax, r.OrigRax = t.stub.Area+entry, uint64(nr), ^uint64(0)
	set(&r)
	return setRegs(t.TID, &r)
}

// step runs the thread to its next syscall stop. Signals that come on the way
// are dropped: the program does not exist yet.
func (t *StubThread) step() error {
	for {
		if err := resume(unix.PTRACE_SYSCALL, t.TID, 0); err != nil {
			return err
		}
		s, err := wait(t.TID, t.TID == t.stub.PID)
		switch {
		case err != nil:
			return err
		case s.kind == stopSyscall:
			return nil
		case s.kind == stopGone:
			return fmt.Errorf("task %d: %w", t.TID, ErrTaskGone)
		}
	}
}

// await waits for a certain kind of stop without letting the thread run before.
func (t *StubThread) await(kind stopKind) error {
	s, err := wait(t.TID, t.TID == t.stub.PID)
	if err != nil {
		return err
	}
	if s.kind != kind {
		return fmt.Errorf("task %d: unexpected stop (kind %d, signal %d, event %d)", t.TID, s.kind, s.sig, s.event)
	}
	return nil
}

// result returns what the call that has just ended gave.
func (t *StubThread) result(nr int) (uint64, error) {
	r, err := getRegs(t.TID)
	if err != nil {
		return 0, err
	}
	if v := int64(r.Rax); v < 0 && v > -4096 {
		return 0, &RemoteError{TID: t.TID, Call: "system call " + strconv.Itoa(nr), Errno: syscall.Errno(-v)}
	}
	return r.Rax, nil
}

// Batch makes many system calls and returns their results. It ends at the first
// call that fails and has Stop set; its result is the last one then. All records
// must fit into the room for arguments, at offset bytes from its start.
func (t *StubThread) Batch(records []parasite.Record, offset int) ([]int64, error) {
	return t.batch(records, offset, areaBatch+uint64(parasite.Batch().Entry))
}

// Batch32 is Batch for the 32-bit table.
func (t *StubThread) Batch32(records []parasite.Record, offset int) ([]int64, error) {
	return t.batch(records, offset, areaBatch+uint64(parasite.Batch().Entry32))
}

func (t *StubThread) batch(records []parasite.Record, offset int, entry uint64) ([]int64, error) {
	if len(records) == 0 {
		return nil, nil
	}
	data, size := t.stub.Data()
	if offset+len(records)*parasite.RecordSize > size {
		return nil, fmt.Errorf("%d calls do not fit into %d bytes", len(records), size-offset)
	}
	buf := make([]byte, 0, len(records)*parasite.RecordSize)
	for i := range records {
		buf = records[i].Append(buf)
	}
	at := data + uint64(offset)
	if err := t.stub.Mem.Write(at, buf); err != nil {
		return nil, err
	}
	r := t.base
	r.Rip, r.OrigRax = t.stub.Area+entry, ^uint64(0)
	r.R12, r.R13 = at, uint64(len(records))
	if err := setRegs(t.TID, &r); err != nil {
		return nil, err
	}
	if err := t.run(); err != nil {
		return nil, err
	}
	after, err := getRegs(t.TID)
	if err != nil {
		return nil, err
	}
	if err := t.stub.Mem.Read(at, buf); err != nil {
		return nil, err
	}
	done := len(records) - int(after.R13)
	if after.R13 != 0 {
		done++ // the one that failed
	}
	results := make([]int64, done)
	for i := range results {
		results[i] = parasite.Result(buf[i*parasite.RecordSize:])
	}
	return results, nil
}

// run lets the thread run to its breakpoint.
func (t *StubThread) run() error {
	for {
		if err := resume(unix.PTRACE_CONT, t.TID, 0); err != nil {
			return err
		}
		s, err := wait(t.TID, t.TID == t.stub.PID)
		switch {
		case err != nil:
			return err
		case s.kind == stopSignal && s.sig == unix.SIGTRAP:
			return nil
		case s.kind == stopSignal && (s.sig == unix.SIGSEGV || s.sig == unix.SIGBUS || s.sig == unix.SIGILL || s.sig == unix.SIGSYS):
			return fmt.Errorf("task %d: %v while it was rebuilt", t.TID, s.sig)
		case s.kind == stopGone:
			return fmt.Errorf("task %d: %w", t.TID, ErrTaskGone)
		}
	}
}

// Kill ends the process and leaves its exit for the parent to collect.
func (s *Stub) Kill() error {
	if s.Mem != nil {
		defer s.Mem.Close()
	}
	if err := unix.Kill(s.PID, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill process %d: %w", s.PID, err)
	}
	return nil
}

// cString returns a text with its terminating zero byte.
func cString(text string) []byte { return append(bytes.Clone([]byte(text)), 0) }
