package snapshot

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Description is an open file description: what several descriptors of several
// processes can share. The detail depends on the kind.
type Description struct {
	ID     int    // index in Manifest.Descriptions
	Flags  Hex    // O_* as F_GETFL gives them
	Owner  *Owner // receiver of SIGIO, nil when none is set
	Detail Detail
}

// Owner is what F_SETOWN_EX and F_SETSIG have set.
type Owner struct {
	Type   int `json:"type"` // F_OWNER_*
	ID     int `json:"id"`
	Signal int `json:"signal"` // 0: SIGIO
}

// Kind is the kind of kernel object that a description leads to.
type Kind string

// Detail is the part of a description that depends on its kind.
type Detail interface {
	Kind() Kind
	// check validates the detail; the tables of files and shared memory and the
	// processes have been checked before.
	check(v *validator) error
}

// details makes an empty detail of each kind: the one line here that a new kind
// of object needs.
var details = map[Kind]func() Detail{
	KindRegular:    func() Detail { return new(Regular) },
	KindKernelFile: func() Detail { return new(KernelFile) },
	KindDirectory:  func() Detail { return new(Directory) },
	KindPath:       func() Detail { return new(Path) },
	KindDevice:     func() Detail { return new(Device) },
	KindTTY:        func() Detail { return new(TTY) },
	KindPTY:        func() Detail { return new(PTY) },
	KindControl:    func() Detail { return new(Control) },
	KindOutside:    func() Detail { return new(Outside) },
	KindPipe:       func() Detail { return new(Pipe) },
	KindEventFD:    func() Detail { return new(EventFD) },
	KindEpoll:      func() Detail { return new(Epoll) },
	KindSignalFD:   func() Detail { return new(SignalFD) },
	KindTimerFD:    func() Detail { return new(TimerFD) },
	KindInotify:    func() Detail { return new(Inotify) },
	KindMQueue:     func() Detail { return new(MQueue) },
	KindMemory:     func() Detail { return new(MemoryFD) },
	KindPidFD:      func() Detail { return new(PidFD) },
	KindUnixPair:   func() Detail { return new(UnixPair) },
	KindSocket:     func() Detail { return new(Socket) },
	KindTCP:        func() Detail { return new(TCP) },
}

// descriptionJSON is the form of a Description on disk.
type descriptionJSON struct {
	ID     int             `json:"id"`
	Kind   Kind            `json:"kind"`
	Flags  Hex             `json:"flags"`
	Owner  *Owner          `json:"owner,omitempty"`
	Detail json.RawMessage `json:"detail"`
}

// MarshalJSON implements json.Marshaler.
func (d Description) MarshalJSON() ([]byte, error) {
	if d.Detail == nil {
		return nil, fmt.Errorf("description %d has no detail", d.ID)
	}
	detail, err := json.Marshal(d.Detail)
	if err != nil {
		return nil, err
	}
	return json.Marshal(descriptionJSON{d.ID, d.Detail.Kind(), d.Flags, d.Owner, detail})
}

// UnmarshalJSON implements json.Unmarshaler.
func (d *Description) UnmarshalJSON(data []byte) error {
	var in descriptionJSON
	if err := decodeStrict(data, &in); err != nil {
		return err
	}
	empty, ok := details[in.Kind]
	if !ok {
		return fmt.Errorf("description %d: unknown kind %q", in.ID, in.Kind)
	}
	detail := empty()
	if err := decodeStrict(in.Detail, detail); err != nil {
		return fmt.Errorf("description %d (%s): %w", in.ID, in.Kind, err)
	}
	*d = Description{in.ID, in.Flags, in.Owner, detail}
	return nil
}

// decodeStrict decodes one JSON value and refuses fields that v does not have.
func decodeStrict(data []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	return dec.Decode(v)
}
