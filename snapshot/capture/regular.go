package capture

import (
	"github.com/crtrace/crtrace/snapshot"
	"golang.org/x/sys/unix"
)

// isRegular matches regular files that have a name.
func isRegular(v *view) bool { return v.st.Mode&unix.S_IFMT == unix.S_IFREG }

// takeRegular collects an open file. Its content stays on disk: a file that the
// program writes is rolled back to this length on restore.
func takeRegular(t *target, v *view) (snapshot.Detail, error) {
	path, ok := v.named()
	if !ok {
		t.refuse(v.object(), "its name leads to another file now", "")
		return nil, nil
	}
	save := t.o.SaveFiles && v.accessMode() != unix.O_RDONLY
	id, err := t.addFile(path, path, false, false)
	if err != nil {
		return nil, err
	}
	if save && !t.surveying() && !t.m.Files[id].Saved {
		t.m.Files[id].Saved = true
		if err := t.saveFile(&t.m.Files[id], path); err != nil { // while the program stands still
			return nil, err
		}
	}
	return &snapshot.Regular{File: id, Offset: v.info.Pos}, nil
}
