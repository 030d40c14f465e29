package procfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Gone reports whether an error means that the process or thread ended before
// or while it was read. It is also true for a file that this kernel does not
// have: both are fs.ErrNotExist.
func Gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH)
}

// pidPath is /proc/PID/name.
func pidPath(pid int, name string) string {
	return "/proc/" + strconv.Itoa(pid) + "/" + name
}

// taskPath is /proc/PID/task/TID/name.
func taskPath(pid, tid int, name string) string {
	return "/proc/" + strconv.Itoa(pid) + "/task/" + strconv.Itoa(tid) + "/" + name
}

// buffers holds read buffers (*[]byte). Files of /proc tell no size, and some
// are megabytes long; growing a new buffer for each costs more than parsing.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 16<<10); return &b }}

// maxPooled is the capacity above which a buffer goes to the garbage collector.
const maxPooled = 4 << 20

// read gives the content of a file to a parser. What the parser returns must
// not share memory with its argument.
func read[T any](path string, parse func([]byte) (T, error)) (T, error) {
	var zero T
	p := buffers.Get().(*[]byte)
	defer func() {
		if cap(*p) <= maxPooled {
			buffers.Put(p)
		}
	}()
	data, err := appendFile((*p)[:0], path)
	*p = data
	if err != nil {
		return zero, err
	}
	v, err := parse(data)
	if err != nil {
		return zero, fmt.Errorf("%s: %w", path, err)
	}
	return v, nil
}

// appendFile appends the content of a file. It avoids os.File, whose poller and
// finalizer are a third of the cost of a small file of /proc.
func appendFile(buf []byte, path string) ([]byte, error) {
	fd, err := openFile(path)
	if err != nil {
		return buf, err
	}
	defer unix.Close(fd)
	for {
		// The kernel never fills more than its own buffer, so room for one more
		// page is enough; doubling keeps a long file linear.
		if cap(buf)-len(buf) < 4096 {
			buf = slices.Grow(buf, max(len(buf), 4096))
		}
		n, err := unix.Read(fd, buf[len(buf):cap(buf)])
		switch {
		case err == unix.EINTR:
		case err != nil:
			return buf, &fs.PathError{Op: "read", Path: path, Err: err}
		case n == 0:
			return buf, nil
		default:
			buf = buf[:len(buf)+n]
		}
	}
}

// openFile opens a file for reading. The error is a *fs.PathError.
func openFile(path string) (int, error) {
	for {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			return fd, nil
		}
		if err != unix.EINTR {
			return -1, unlessEnded(path, &fs.PathError{Op: "open", Path: path, Err: err})
		}
	}
}

// numbers lists the numeric entries of a directory, ascending.
func numbers(dir string) ([]int, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, unlessEnded(dir, err)
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	out := make([]int, 0, len(names))
	for _, name := range names {
		if n, ok := decimal([]byte(name)); ok && n <= maxInt {
			out = append(out, int(n))
		}
	}
	slices.Sort(out)
	return out, nil
}

// unlessEnded turns "permission denied" into ESRCH if the task that the path
// belongs to has ended and was not waited for: root then owns its files.
func unlessEnded(path string, err error) error {
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	stat, ok := statPath(path)
	if !ok || stat == path {
		return err
	}
	if s, statErr := read(stat, parseStat); statErr == nil && s.State != 'Z' && s.State != 'X' ||
		statErr != nil && !Gone(statErr) {
		return err
	}
	return &fs.PathError{Op: "open", Path: path, Err: syscall.ESRCH}
}

// statPath returns the stat file of the task that a path belongs to.
func statPath(path string) (string, bool) {
	parts := strings.Split(path, "/") // "", "proc", PID, "task", TID, ...
	if len(parts) < 4 || parts[1] != "proc" {
		return "", false
	}
	if len(parts) > 5 && parts[3] == "task" {
		return strings.Join(parts[:5], "/") + "/stat", true
	}
	return strings.Join(parts[:3], "/") + "/stat", true
}
