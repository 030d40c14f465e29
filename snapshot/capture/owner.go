package capture

import (
	"errors"
	"fmt"

	"github.com/crtrace/crtrace/snapshot"
	"golang.org/x/sys/unix"
)

// getOwner returns who gets SIGIO for a description, nil when nobody does.
func getOwner(fd int) (*snapshot.Owner, error) {
	owner, err := fcntlOwner(fd)
	if errors.Is(err, unix.EBADF) { // O_PATH
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("F_GETOWN_EX: %w", err)
	}
	sig, err := unix.FcntlInt(uintptr(fd), unix.F_GETSIG, 0)
	if err != nil {
		return nil, fmt.Errorf("F_GETSIG: %w", err)
	}
	if owner.id == 0 && sig == 0 {
		return nil, nil
	}
	return &snapshot.Owner{Type: int(owner.kind), ID: int(owner.id), Signal: sig}, nil
}
