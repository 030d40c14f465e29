package capture

import "github.com/crtrace/crtrace/snapshot"

// takeOutside collects a standard stream that leads out of the tree; anything
// else that does is refused.
func takeOutside(t *target, v *view, what string) (snapshot.Detail, error) {
	if v.num > 2 {
		t.refuse(v.object(), what+" is held by a process outside the checkpoint",
			"start both under one 'crtrace launch', or close it before the checkpoint")
		return nil, nil
	}
	return &snapshot.Outside{Link: v.link, Stream: v.num}, nil
}
