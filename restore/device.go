package restore

import (
	"fmt"

	"github.com/crtrace/crtrace/snapshot"
	"golang.org/x/sys/unix"
)

// openDevice opens a device without state again.
func openDevice(b *broker, d *snapshot.Description) (int, error) {
	dev := d.Detail.(*snapshot.Device)
	fd, err := unix.Open(dev.Path, openFlags(d), 0)
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", dev.Path, err)
	}
	b.keep(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return -1, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != unix.Mkdev(uint32(dev.Major), uint32(dev.Minor)) {
		return -1, fmt.Errorf("%s is not device %d:%d here", dev.Path, dev.Major, dev.Minor)
	}
	return fd, nil
}
