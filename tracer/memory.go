package tracer

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Memory is the address space of another process. Its methods may be used from
// any thread while the process is stopped.
type Memory struct {
	pid  int
	file *os.File // /proc/PID/mem
}

// OpenMemory opens the memory of a process that the caller may trace.
func OpenMemory(pid int) (*Memory, error) {
	f, err := os.OpenFile("/proc/"+strconv.Itoa(pid)+"/mem", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return &Memory{pid, f}, nil
}

// Close closes the memory.
func (m *Memory) Close() error { return m.file.Close() }

// Read fills buf from addr. Pages that the program itself may not read are read
// too; that takes /proc/PID/mem, which is slower than process_vm_readv.
func (m *Memory) Read(addr uint64, buf []byte) error {
	if len(buf) == 0 {
		return nil
	}
	local := []unix.Iovec{{Base: &buf[0], Len: uint64(len(buf))}}
	remote := []unix.RemoteIovec{{Base: uintptr(addr), Len: len(buf)}}
	n, err := unix.ProcessVMReadv(m.pid, local, remote, 0)
	if err == nil && n == len(buf) {
		return nil
	}
	return m.ReadGently(addr, buf)
}

// ReadGently is Read for pages that other processes may have in common with this one
// since a fork. process_vm_readv pins what it reads, and since Linux 5.19 that makes
// the kernel copy such pages first: the memory of a tree of forks would multiply.
func (m *Memory) ReadGently(addr uint64, buf []byte) error {
	got, err := m.file.ReadAt(buf, int64(addr))
	if got == len(buf) {
		return nil
	}
	if got == 0 && errors.Is(err, io.EOF) {
		return fmt.Errorf("memory of process %d: %w", m.pid, ErrTaskGone) // the address space is no more
	}
	return fmt.Errorf("read %d bytes at 0x%x of process %d: %w", len(buf), addr, m.pid, err)
}

// Write writes data at addr, also over pages that the program may not write:
// private ones get a copy of their own.
func (m *Memory) Write(addr uint64, data []byte) error {
	if len(data) == 0 {
		return nil
	}
	n, err := m.file.WriteAt(data, int64(addr))
	if n == 0 && errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("memory of process %d: %w", m.pid, ErrTaskGone) // the address space is no more
	}
	if err != nil {
		return fmt.Errorf("write %d bytes at 0x%x of process %d: %w", len(data), addr, m.pid, err)
	}
	if n != len(data) {
		return fmt.Errorf("write at 0x%x of process %d: %d of %d bytes", addr, m.pid, n, len(data))
	}
	return nil
}
