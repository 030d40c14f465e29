package snapshot

// KindEventFD is the kind of eventfds.
const KindEventFD Kind = "eventfd"

// EventFD is an event counter.
type EventFD struct {
	Count     Hex  `json:"count"`
	Semaphore bool `json:"semaphore,omitempty"`
}

// Kind implements Detail.
func (*EventFD) Kind() Kind { return KindEventFD }

// check implements Detail.
func (*EventFD) check(*validator) error {
	return nil // every value is possible
}
