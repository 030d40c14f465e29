package capture

import (
	"strings"

	"github.com/crtrace/crtrace/snapshot"
	"golang.org/x/sys/unix"
)

// isMemory matches files whose content goes into the image: memfds, deleted
// files, and files of /dev/shm that are open for writing.
func isMemory(v *view) bool {
	if v.st.Mode&unix.S_IFMT != unix.S_IFREG || v.info.Flags&unix.O_PATH != 0 {
		return false
	}
	_, named := v.named()
	return !named || strings.HasPrefix(v.link, "/dev/shm/") && v.accessMode() != unix.O_RDONLY
}

// takeMemory collects an open description of shared memory. The content is
// taken with the address space.
func takeMemory(t *target, v *view) (snapshot.Detail, error) {
	path, deleted := trimDeleted(v.link)
	s := snapshot.Shared{Name: path, Path: path, Kind: sharedNamed}
	switch name, memfd := strings.CutPrefix(path, "/memfd:"); {
	case memfd:
		s = snapshot.Shared{Name: name, Kind: sharedMemFD}
	case deleted:
		s.Kind = sharedDeleted
	default:
		if _, ok := v.named(); !ok {
			s.Kind = sharedDeleted // its name leads to another file now
		}
	}
	id := t.addShared(fileKey{v.st.Dev, v.st.Ino}, s)
	return &snapshot.MemoryFD{Shared: id, Offset: v.info.Pos}, nil
}
