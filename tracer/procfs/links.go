package procfs

import (
	"os"
	"strconv"
	"strings"
)

// FD is an open descriptor.
type FD struct {
	Num  int
	Link string // as in "/tmp/x", "/tmp/x (deleted)", "pipe:[123]", "anon_inode:[eventfd]"
}

// FDs lists the open descriptors of a process, ascending. The process has to
// be traceable by the caller. Every thread of a process may have its own table;
// this is the one of the leading thread. A zombie has none.
func FDs(pid int) ([]FD, error) {
	dir := pidPath(pid, "fd")
	nums, err := numbers(dir)
	if err != nil {
		return nil, err
	}
	out := make([]FD, 0, len(nums))
	for _, n := range nums {
		link, err := os.Readlink(dir + "/" + strconv.Itoa(n))
		switch {
		case err == nil:
			out = append(out, FD{n, link})
		case !Gone(unlessEnded(dir, err)):
			return nil, err
		}
	}
	if len(out) < len(nums) {
		// Closed in between, unless it was the process that went.
		if _, err := numbers(dir); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Exe returns the path of the executable and whether it was removed since. A
// kernel thread and a zombie have none: Gone is true for the error.
func Exe(pid int) (path string, deleted bool, err error) { return link(pidPath(pid, "exe")) }

// Cwd returns the working directory and whether it was removed.
func Cwd(pid int) (path string, deleted bool, err error) { return link(pidPath(pid, "cwd")) }

// Root returns the root directory, "/" unless the process was chrooted, and
// whether it was removed.
func Root(pid int) (path string, deleted bool, err error) { return link(pidPath(pid, "root")) }

// link reads a magic link. A name that ends in " (deleted)" is ambiguous; it is
// taken for the name if it leads to the very file that the link leads to.
func link(magic string) (string, bool, error) {
	text, err := os.Readlink(magic)
	if err != nil {
		return "", false, unlessEnded(magic, err)
	}
	path, deleted := strings.CutSuffix(text, deletedSuffix)
	if deleted && sameFile(magic, text) {
		return text, false, nil
	}
	return path, deleted, nil
}

// sameFile reports whether two paths lead to one file.
func sameFile(a, b string) bool {
	fa, errA := os.Stat(a)
	fb, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(fa, fb)
}

// Cmdline returns the arguments of a process, as far as it left them alone:
// a process may overwrite them. A kernel thread and a zombie have none.
func Cmdline(pid int) ([]string, error) { return read(pidPath(pid, "cmdline"), parseCmdline) }

// parseCmdline splits at NUL bytes. The last argument ends in one, too, unless
// the process wrote over it.
func parseCmdline(data []byte) ([]string, error) {
	if len(data) == 0 {
		return nil, nil
	}
	return strings.Split(strings.TrimSuffix(string(data), "\x00"), "\x00"), nil
}
