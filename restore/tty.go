package restore

import (
	"github.com/crtrace/crtrace/snapshot"
	"golang.org/x/sys/unix"
)

// placeTTY binds a descriptor that was a terminal outside the tree to the
// restorer's streams: a standard stream to the same stream, others to the
// restorer's terminal, if it has one.
func placeTTY(p *process, _ *snapshot.Description, fd snapshot.FD) {
	stream := fd.Num
	if stream > 2 {
		stream = p.broker.terminal()
	}
	p.move(p.broker.stdio[stream], fd)
}

// terminal returns the first of the restorer's streams that is a terminal, else
// standard input.
func (b *broker) terminal() int {
	for i, fd := range b.stdio {
		if _, err := unix.IoctlGetTermios(fd, unix.TCGETS); err == nil {
			return i
		}
	}
	return 0
}
