package restore

import "github.com/crtrace/crtrace/snapshot"

// placeOutside binds a stream that led out of the tree to the same stream of the
// restorer.
func placeOutside(b *broker, d *snapshot.Description, num int) int {
	return b.stream(d.ID, num, d.Detail.(*snapshot.Outside).Stream)
}

// stream returns the restorer's stream that a descriptor is bound to: the one
// that the root had the description as. Where the root had it twice (2>&1), each
// number is bound to its own stream, as whoever restores says anew where they
// lead. other is the answer for descriptions that are no stream of the root.
func (b *broker) stream(description, num, other int) int {
	lowest := -1
	for _, f := range b.m.Processes[0].FDs {
		if f.Num > 2 || f.Description != description {
			continue
		}
		if f.Num == num {
			return num
		}
		if lowest < 0 {
			lowest = f.Num
		}
	}
	if lowest < 0 {
		return other
	}
	return lowest
}
