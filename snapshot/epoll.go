package snapshot

import "fmt"

// KindEpoll is the kind of epoll instances.
const KindEpoll Kind = "epoll"

// Epoll is an epoll instance with its interest list.
type Epoll struct {
	Entries []EpollEntry `json:"entries"`
}

// EpollEntry is one entry of an interest list. The descriptor number is the one
// it was added under; the program may have closed it or used it for something
// else since.
type EpollEntry struct {
	FD          int `json:"fd"`
	Description int `json:"description"` // Manifest.Descriptions
	Events      Hex `json:"events"`
	Data        Hex `json:"data"`
}

// Kind implements Detail.
func (*Epoll) Kind() Kind { return KindEpoll }

// check implements Detail.
func (e *Epoll) check(v *validator) error {
	if len(e.Entries) > maxCount {
		return fmt.Errorf("%d entries", len(e.Entries))
	}
	for _, entry := range e.Entries {
		if err := notNegative("a descriptor", int64(entry.FD)); err != nil {
			return err
		}
		if err := index("description", entry.Description, len(v.m.Descriptions)); err != nil {
			return fmt.Errorf("entry for descriptor %d: %w", entry.FD, err)
		}
	}
	return nil
}
