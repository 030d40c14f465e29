package snapshot

import "fmt"

// KindInotify is the kind of inotify instances.
const KindInotify Kind = "inotify"

// Inotify is an inotify instance with its watches.
type Inotify struct {
	Watches []Watch `json:"watches"` // ascending watch descriptors
}

// Watch is one inotify watch.
type Watch struct {
	WD   int    `json:"wd"`
	Path string `json:"path"`
	Mask Hex    `json:"mask"`
}

// Kind implements Detail.
func (*Inotify) Kind() Kind { return KindInotify }

// move implements movable.
func (n *Inotify) move(m *mover) {
	for i := range n.Watches {
		m.path(&n.Watches[i].Path)
	}
}

// check implements Detail.
func (n *Inotify) check(*validator) error {
	last := 0
	for _, w := range n.Watches {
		if w.WD <= last {
			return fmt.Errorf("watch %d is not in order", w.WD)
		}
		last = w.WD
		if err := checkPath(w.Path); err != nil {
			return fmt.Errorf("watch %d: %w", w.WD, err)
		}
	}
	return nil
}
