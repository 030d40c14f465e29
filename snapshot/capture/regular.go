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
	written := v.accessMode() != unix.O_RDONLY
	save := saveNot
	switch rule := t.o.Files.For(path); {
	case rule == snapshot.RuleSave && !written:
		save = saveLater
	case rule == snapshot.RuleSave, rule == "" && t.o.SaveFiles && written:
		save = saveNow
	}
	id, err := t.addFile(path, path, false, save)
	return &snapshot.Regular{File: id, Offset: v.info.Pos}, err
}
