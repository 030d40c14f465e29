package restore

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// Descriptors that are in flight (SCM_RIGHTS) are sent by the broker, which has
// everything open. Those that nobody else has get no number in any process: they
// are closed with the transfer numbers.

// rights returns the control message that puts descriptions into flight; nil for none.
func (b *broker) rights(descriptions []int) ([]byte, error) {
	if len(descriptions) == 0 {
		return nil, nil
	}
	var fds []int
	for _, id := range descriptions {
		fd := b.descs[id]
		if fd < 0 {
			return nil, fmt.Errorf("%s can't be put into flight: only a process can make it", describe(b.m, &b.m.Descriptions[id]))
		}
		fds = append(fds, fd)
	}
	return unix.UnixRights(fds...), nil
}

// drop closes a descriptor that was to be kept.
func (b *broker) drop(fd int) error {
	b.opened = slices.DeleteFunc(b.opened, func(o int) bool { return o == fd })
	return unix.Close(fd)
}
