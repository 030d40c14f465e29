package snapshot

// KindDevice is the kind of character devices without state, such as /dev/null.
const KindDevice Kind = "device"

// Device is an open character device that keeps nothing between calls.
type Device struct {
	Path  string `json:"path"`
	Major int    `json:"major"`
	Minor int    `json:"minor"`
}

// Kind implements Detail.
func (*Device) Kind() Kind { return KindDevice }

// check implements Detail.
func (d *Device) check(*validator) error {
	if err := notNegative("a device number", int64(d.Major), int64(d.Minor)); err != nil {
		return err
	}
	return checkPath(d.Path)
}
