package restore

import (
	"fmt"

	"github.com/crtrace/crtrace/snapshot"
	"golang.org/x/sys/unix"
)

// openSignalFD makes a signalfd. It reads the signals of whoever reads it, so it
// can be made here.
func openSignalFD(b *broker, d *snapshot.Description) (int, error) {
	s := d.Detail.(*snapshot.SignalFD)
	var set unix.Sigset_t
	set.Val[0] = uint64(s.Mask)
	fd, err := unix.Signalfd(-1, &set, unix.SFD_CLOEXEC|int(d.Flags)&unix.O_NONBLOCK)
	if err != nil {
		return -1, fmt.Errorf("signalfd: %w", err)
	}
	return b.keep(fd), nil
}
