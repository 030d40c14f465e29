package capture

import (
	"github.com/crtrace/crtrace/snapshot"
	"golang.org/x/sys/unix"
)

// isDirectory matches open directories.
func isDirectory(v *view) bool { return v.st.Mode&unix.S_IFMT == unix.S_IFDIR }

// takeDirectory collects an open directory.
func takeDirectory(_ *target, v *view) (snapshot.Detail, error) {
	path, ok := v.named()
	return &snapshot.Directory{Path: path, Gone: !ok, Offset: v.info.Pos}, nil
}
