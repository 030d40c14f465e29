package restore

import "github.com/crtrace/crtrace/snapshot"

// placeOutside binds a stream that led out of the tree to the same stream of the
// restorer.
func placeOutside(p *process, d *snapshot.Description, fd snapshot.FD) {
	stream := d.Detail.(*snapshot.Outside).Stream
	if fd.Num <= 2 {
		stream = fd.Num
	}
	p.move(p.broker.stdio[stream], fd)
}
