package capture

import (
	"slices"
	"strings"

	"github.com/crtrace/crtrace/snapshot"
)

// isPidFD matches pidfds. Their link was anon_inode:[pidfd] before pidfs (6.9).
func isPidFD(v *view) bool {
	return v.link == "anon_inode:[pidfd]" || strings.HasPrefix(v.link, "pidfd:")
}

// takePidFD collects a descriptor of a process.
func takePidFD(t *target, v *view) (snapshot.Detail, error) {
	if t.find(v.info.Pid) == nil && !t.hasZombie(v.info.Pid) {
		t.refuse(v.object(), "it is a descriptor of a process that is not part of the checkpoint", "")
		return nil, nil
	}
	return &snapshot.PidFD{PID: v.info.Pid}, nil
}

// hasZombie tells whether a process of the tree has ended and was not waited for.
func (c *collection) hasZombie(pid int) bool {
	return slices.ContainsFunc(c.m.Zombies, func(z snapshot.Zombie) bool { return z.PID == pid })
}
