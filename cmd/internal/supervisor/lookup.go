package supervisor

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/crtrace/crtrace/cmd/internal/exitcode"
)

// defaultPath is where programs are looked for when PATH is not set.
const defaultPath = "/bin:/usr/bin"

// lookup finds a program as execvp does: a name with a slash is a path, another
// one is looked for in PATH, where an empty entry is the current directory. The
// error has the status 127 (not found) or 126 (not executable).
func lookup(name string) (string, error) {
	if strings.Contains(name, "/") {
		return name, executable(name)
	}
	if name == "" {
		return "", exitcode.With(exitcode.NotFound, &fs.PathError{Op: "launch", Path: name, Err: fs.ErrNotExist})
	}
	path, ok := os.LookupEnv("PATH")
	if !ok {
		path = defaultPath
	}
	var denied error
	for dir := range strings.SplitSeq(path, ":") {
		if dir == "" {
			dir = "."
		}
		file := dir + "/" + name // not filepath.Join: "./x" must keep its slash
		err := executable(file)
		if err == nil {
			return file, nil
		}
		if e, ok := errors.AsType[*exitcode.Error](err); ok && e.Code == exitcode.CannotExec && denied == nil {
			denied = err
		}
	}
	if denied != nil {
		return "", denied
	}
	return "", exitcode.With(exitcode.NotFound, &fs.PathError{Op: "launch", Path: name, Err: errors.New("not found in PATH")})
}

// executable checks that path leads to a regular file that may be executed.
func executable(path string) error {
	var st unix.Stat_t
	err := unix.Stat(path, &st)
	switch {
	case err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR:
		err = unix.EISDIR
	case err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG:
		err = unix.EACCES
	case err == nil:
		err = unix.Faccessat(unix.AT_FDCWD, path, unix.X_OK, unix.AT_EACCESS)
	}
	return execError(path, err)
}

// execError gives the failure to execute path its exit status.
func execError(path string, err error) error {
	if err == nil {
		return nil
	}
	code := exitcode.CannotExec
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		code = exitcode.NotFound
	}
	return exitcode.With(code, &fs.PathError{Op: "launch", Path: path, Err: err})
}

// gainsPrivilege tells whether executing path changes the identity of the
// process (set-user-id, set-group-id, file capabilities). The kernel withholds
// that from a traced process.
func gainsPrivilege(path string) bool {
	for range 5 { // as deep as the kernel follows "#!" lines
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil {
			return false
		}
		if st.Mode&unix.S_ISUID != 0 || st.Mode&unix.S_ISGID != 0 && st.Mode&unix.S_IXGRP != 0 {
			return true
		}
		if n, err := unix.Getxattr(path, "security.capability", nil); err == nil && n > 0 {
			return true
		}
		next := interpreter(path)
		if next == "" {
			return false
		}
		path = next
	}
	return false
}

// interpreter returns the program that a "#!" line names, "" without one.
func interpreter(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return "" // a program that may be executed but not read has none
	}
	defer f.Close()
	head := make([]byte, 256) // BINPRM_BUF_SIZE
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return ""
	}
	rest, ok := bytes.CutPrefix(head[:n], []byte("#!"))
	if !ok {
		return ""
	}
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	fields := bytes.Fields(line)
	if len(fields) == 0 || !filepath.IsAbs(string(fields[0])) {
		return ""
	}
	return string(fields[0])
}
