package capture

import (
	"strings"

	"github.com/crtrace/crtrace/snapshot"
	"golang.org/x/sys/unix"
)

// isKernelFile matches files and directories of /proc and /sys.
func isKernelFile(v *view) bool {
	kind := v.st.Mode & unix.S_IFMT
	return (kind == unix.S_IFREG || kind == unix.S_IFDIR) &&
		(strings.HasPrefix(v.link, "/proc/") || strings.HasPrefix(v.link, "/sys/"))
}

// takeKernelFile collects a file that has no content of its own. Its inode proves
// nothing: the kernel makes them up as it goes, so the same path may lead to
// another one a moment later.
func takeKernelFile(t *target, v *view) (snapshot.Detail, error) {
	path, deleted := trimDeleted(v.link)
	var st unix.Stat_t
	if deleted || unix.Lstat(path, &st) != nil {
		if !t.surveying() { // a program that runs may have closed it meanwhile
			t.refuse(v.object(), "it belongs to a process that is no more", "close it before the checkpoint")
		}
		return nil, nil
	}
	return &snapshot.KernelFile{Path: path, Offset: v.info.Pos}, nil
}
