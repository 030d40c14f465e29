package snapshot

// KindSignalFD is the kind of signalfds.
const KindSignalFD Kind = "signalfd"

// SignalFD is a signalfd.
type SignalFD struct {
	Mask Hex `json:"mask"` // signals that it accepts
}

// Kind implements Detail.
func (*SignalFD) Kind() Kind { return KindSignalFD }

// check implements Detail.
func (*SignalFD) check(*validator) error {
	return nil // every value is possible
}
