package capture

import (
	"fmt"

	"github.com/crtrace/crtrace/snapshot"
	"github.com/crtrace/crtrace/tracer/procfs"
)

// takeEpoll collects an epoll instance. An entry is tied to a description, not
// to the number it was added under, which may mean something else by now.
func takeEpoll(t *target, v *view) (snapshot.Detail, error) {
	ep := &snapshot.Epoll{Entries: []snapshot.EpollEntry{}}
	nth := map[int]int{} // entries seen of each number
	for _, e := range v.info.Epoll {
		target, err := t.epollTarget(v, e, nth[e.FD])
		if err != nil {
			return nil, err
		}
		nth[e.FD]++
		if target < 0 {
			if t.surveying() {
				continue // the program runs and may have changed the list
			}
			t.refuse(v.object(), fmt.Sprintf("it watches what was descriptor %d, to which no descriptor leads any more", e.FD), "")
			return nil, nil
		}
		ep.Entries = append(ep.Entries, snapshot.EpollEntry{
			FD: e.FD, Description: target, Events: snapshot.Hex(e.Events), Data: snapshot.Hex(e.Data),
		})
	}
	return ep, nil
}

// epollTarget returns the description that an entry watches, -1 when none of the
// tree's descriptors leads there. nth counts the entries of the same number.
func (t *target) epollTarget(v *view, e procfs.EpollEntry, nth int) (int, error) {
	try := func(pid, num int) (bool, error) { return sameEpollTarget(pid, num, v.pid, v.num, e.FD, nth) }
	if id, ok := t.idOf[e.FD]; ok {
		same, err := try(t.pid, e.FD)
		if err != nil && !t.surveying() {
			return -1, fmt.Errorf("kcmp: %w", err)
		}
		if same {
			return id, nil
		}
	}
	for id, o := range t.byID {
		if e.Ino != 0 && o.st.Ino != e.Ino {
			continue
		}
		if same, err := try(o.pid, o.num); err == nil && same {
			return id, nil
		}
	}
	return -1, nil
}
