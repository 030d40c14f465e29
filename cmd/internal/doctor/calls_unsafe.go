package doctor

import (
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// cloneArgs is struct clone_args of linux/sched.h, as of 5.7.
type cloneArgs struct {
	flags, pidfd, childTID, parentTID, exitSignal     uint64
	stack, stackSize, tls, setTID, setTIDSize, cgroup uint64
}

// clone3 makes the call. In a child (the result is 0) nothing may follow but
// exit: it is a copy of a thread out of the middle of the Go runtime.
func clone3(args *cloneArgs) (int, unix.Errno) {
	pid, _, errno := unix.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(args)), unsafe.Sizeof(*args), 0)
	if errno == 0 && pid == 0 {
		for {
			_, _, _ = unix.RawSyscall(unix.SYS_EXIT, 0, 0, 0) // does not return
		}
	}
	return int(pid), errno
}

// spawnWithTID makes a process with the free id want, which ends at once.
func spawnWithTID(want int) error {
	id := int32(want)
	args := cloneArgs{exitSignal: uint64(unix.SIGCHLD), setTID: uint64(uintptr(unsafe.Pointer(&id))), setTIDSize: 1}
	pid, errno := clone3(&args)
	runtime.KeepAlive(&id)
	if errno != 0 {
		return os.NewSyscallError("clone3(set_tid)", errno)
	}
	if pid != want {
		return fmt.Errorf("clone3(set_tid=%d) made process %d", want, pid)
	}
	_, err := unix.Wait4(pid, nil, 0, nil)
	return os.NewSyscallError("wait4", err)
}

// xstateSize returns the size of a stopped thread's extended state, in bytes.
func xstateSize(tid int) (int, error) {
	const ntX86Xstate = 0x202
	buf := make([]byte, 64<<10)
	vec := unix.Iovec{Base: &buf[0], Len: uint64(len(buf))}
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_GETREGSET, uintptr(tid), ntX86Xstate, uintptr(unsafe.Pointer(&vec)), 0, 0)
	if errno != 0 {
		return 0, os.NewSyscallError("ptrace(PTRACE_GETREGSET, NT_X86_XSTATE)", errno)
	}
	return int(vec.Len), nil
}

// rseqConfiguration asks for a stopped thread's rseq registration.
func rseqConfiguration(tid int) error {
	const request = 0x420f // PTRACE_GET_RSEQ_CONFIGURATION
	var conf [24]byte      // struct ptrace_rseq_configuration
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, request, uintptr(tid), uintptr(len(conf)), uintptr(unsafe.Pointer(&conf)), 0, 0)
	if errno != 0 {
		return os.NewSyscallError("ptrace(PTRACE_GET_RSEQ_CONFIGURATION)", errno)
	}
	return nil
}

// readMemory reads eight bytes of another process.
func readMemory(pid int, addr uint64, into *uint64) error {
	local := unix.Iovec{Base: (*byte)(unsafe.Pointer(into)), Len: 8}
	n, err := unix.ProcessVMReadv(pid, []unix.Iovec{local}, []unix.RemoteIovec{{Base: uintptr(addr), Len: 8}}, 0)
	if err == nil && n != 8 {
		err = fmt.Errorf("%d bytes of 8", n)
	}
	return os.NewSyscallError("process_vm_readv", err)
}

// mmMapSize asks for the size of struct prctl_mm_map.
func mmMapSize() error {
	var size uint32
	err := unix.Prctl(unix.PR_SET_MM, unix.PR_SET_MM_MAP_SIZE, uintptr(unsafe.Pointer(&size)), 0, 0)
	if err == nil && size == 0 {
		err = fmt.Errorf("size 0")
	}
	return os.NewSyscallError("prctl(PR_SET_MM_MAP_SIZE)", err)
}

// pagemapScan scans the page that a variable lies on.
func pagemapScan() error {
	f, err := os.Open("/proc/self/pagemap")
	if err != nil {
		return err
	}
	defer f.Close()
	const (
		request = 0xc0606610 // PAGEMAP_SCAN
		present = 1 << 3     // PAGE_IS_PRESENT
		page    = 4096
	)
	buf := make([]byte, 2*page) // holds one whole page for certain
	buf[page-1], buf[page] = 1, 1
	start := uint64(uintptr(unsafe.Pointer(&buf[0]))+page-1) &^ (page - 1)
	var region [3]uint64
	// struct pm_scan_arg
	arg := [12]uint64{96, 0, start, start + page, 0, uint64(uintptr(unsafe.Pointer(&region))), 1, 0, 0, 0, present, present}
	n, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), request, uintptr(unsafe.Pointer(&arg)))
	runtime.KeepAlive(buf)
	runtime.KeepAlive(&region)
	if errno != 0 {
		return os.NewSyscallError("ioctl(PAGEMAP_SCAN)", errno)
	}
	if n != 1 || region[0] != start {
		return fmt.Errorf("ioctl(PAGEMAP_SCAN): %d regions, want 1", n)
	}
	return nil
}

// userfaultAsync asks a userfaultfd for asynchronous write protection.
func userfaultAsync() error {
	const (
		userModeOnly = 1
		request      = 0xc018aa3f // UFFDIO_API
		api          = 0xaa
		wpAsync      = 1 << 15 // UFFD_FEATURE_WP_ASYNC
	)
	fd, _, errno := unix.Syscall(unix.SYS_USERFAULTFD, userModeOnly|unix.O_CLOEXEC, 0, 0)
	if errno != 0 {
		return os.NewSyscallError("userfaultfd", errno)
	}
	defer unix.Close(int(fd))
	arg := [3]uint64{api, wpAsync, 0}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, request, uintptr(unsafe.Pointer(&arg))); errno != 0 {
		return os.NewSyscallError("ioctl(UFFDIO_API, WP_ASYNC)", errno)
	}
	return nil
}
