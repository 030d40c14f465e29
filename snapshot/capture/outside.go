package capture

import "github.com/crtrace/crtrace/snapshot"

// together is the hint for what is held by a process outside the tree.
const together = "start both under one 'crtrace launch', or close it before the checkpoint"

// takeOutside collects a standard stream that leads out of the tree; anything
// else that does is refused. While the program runs, what it leads to may be in flight.
func takeOutside(t *target, v *view, what, hint string) (snapshot.Detail, error) {
	if t.surveying() && t.flying {
		return nil, nil
	}
	stream := t.streamOf(v)
	if stream < 0 {
		t.refuse(v.object(), what+" is held by a process outside the checkpoint",
			hint)
		return nil, nil
	}
	return &snapshot.Outside{Link: v.link, Stream: stream}, nil
}

// streamOf tells which standard stream a description is: of the root, else of any
// process, such as the end of a pipeline. -1: it is none.
func (c *collection) streamOf(v *view) int {
	stream := -1
	for _, o := range c.views {
		if o.id != v.id || o.num > 2 || o.carrier != nil {
			continue
		}
		if o.t == c.targets[0] {
			return o.num
		}
		if stream < 0 {
			stream = o.num
		}
	}
	return stream
}
