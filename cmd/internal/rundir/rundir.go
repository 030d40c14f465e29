// Package rundir finds and guards the directory where supervisors have their
// sockets.
//
// In a nutshell: the directory is $XDG_RUNTIME_DIR/crtrace where that variable
// names a real directory of ours, else /tmp/crtrace-<uid>. /tmp is shared with
// everybody, so a directory there proves nothing by its name: it is used only
// when lstat shows a directory (not a link) of our own, closed to everybody
// else. Once that holds nobody but us (and root) can replace what is inside,
// and the paths below it may be used without further care.
//
// The functions keep no state.
package rundir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// maxPath is the longest path of a unix socket: sun_path has 108 bytes with the
// final zero.
const maxPath = 107

// longest is the longest name of a socket; pids go up to 4194304.
const longest = "/4194304.sock"

// UnsafeError tells why a directory is not used for sockets.
type UnsafeError struct {
	Dir string
	Why string
}

// Error implements error.
func (e *UnsafeError) Error() string {
	return fmt.Sprintf("runtime directory %s: %s; remove it, or set XDG_RUNTIME_DIR to a directory of yours", e.Dir, e.Why)
}

// Candidates lists the directories in which a supervisor of the user uid can
// have its socket, the preferred one first. forced (may be empty) replaces all
// of them.
func Candidates(forced string, uid int) []string {
	if forced != "" {
		return []string{forced}
	}
	var dirs []string
	if x := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(x) && len(x)+len("/crtrace")+len(longest) <= maxPath {
		if st, err := os.Lstat(x); err == nil && st.IsDir() && owner(st) == uid {
			dirs = append(dirs, filepath.Join(x, "crtrace"))
		}
	}
	return append(dirs, filepath.Join("/tmp", "crtrace-"+strconv.Itoa(uid)))
}

// Prepare returns the directory for a socket of our own, made when it is
// missing, and verified. The error is *UnsafeError when somebody else could
// reach into it.
func Prepare(forced string) (string, error) {
	dir := Candidates(forced, os.Geteuid())[0]
	if !filepath.IsAbs(dir) {
		return "", &UnsafeError{dir, "is not an absolute path"}
	}
	if len(dir)+len(longest) > maxPath {
		return "", &UnsafeError{dir, fmt.Sprintf("is too long for a socket (%d bytes, at most %d)", len(dir), maxPath-len(longest))}
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("runtime directory: %w", err)
	}
	if err := Verify(dir, os.Geteuid()); err != nil {
		return "", err
	}
	return dir, nil
}

// Verify checks that dir is a real directory, owned by uid and with mode 0700.
func Verify(dir string, uid int) error {
	st, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("runtime directory: %w", err)
	}
	switch {
	case st.Mode()&fs.ModeSymlink != 0:
		return &UnsafeError{dir, "is a symbolic link"}
	case !st.IsDir():
		return &UnsafeError{dir, "is not a directory"}
	case owner(st) != uid:
		return &UnsafeError{dir, fmt.Sprintf("belongs to user %d, not to user %d", owner(st), uid)}
	case st.Mode().Perm() != 0o700:
		return &UnsafeError{dir, fmt.Sprintf("has mode %04o, not 0700", st.Mode().Perm())}
	}
	return nil
}

// Socket is the path of the socket for the program pid.
func Socket(dir string, pid int) string {
	return filepath.Join(dir, strconv.Itoa(pid)+".sock")
}

// Programs lists the pids that have a socket in dir, living or stale.
func Programs(dir string) []int {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil // no directory, no sockets
	}
	var pids []int
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".sock")
		if pid, err := strconv.Atoi(name); ok && err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	return pids
}

// owner returns the uid of a file.
func owner(st fs.FileInfo) int {
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return -1
	}
	return int(sys.Uid)
}
