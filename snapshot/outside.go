package snapshot

import "fmt"

// KindOutside is the kind of standard streams that lead out of the tree.
const KindOutside Kind = "outside"

// Outside is a pipe or socket whose other end is held by somebody outside the
// tree and that the program has as a standard stream: on restore it is bound to
// the same standard stream of the restorer.
type Outside struct {
	Link   string `json:"link"`   // as in /proc/PID/fd: "pipe:[123]"
	Stream int    `json:"stream"` // 0, 1 or 2
}

// Kind implements Detail.
func (*Outside) Kind() Kind { return KindOutside }

// check implements Detail.
func (o *Outside) check(*validator) error {
	if o.Stream < 0 || o.Stream > 2 {
		return fmt.Errorf("there is no standard stream %d", o.Stream)
	}
	return nil
}
