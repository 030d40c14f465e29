package snapshot

// KindTTY is the kind of terminals that belong to somebody outside the tree.
const KindTTY Kind = "tty"

// TTY is a terminal outside the tree: on restore the program gets the
// restorer's terminal instead.
type TTY struct {
	Path    string `json:"path"`
	Control bool   `json:"control,omitempty"` // opened as /dev/tty
}

// Kind implements Detail.
func (*TTY) Kind() Kind { return KindTTY }

// check implements Detail.
func (t *TTY) check(*validator) error {
	return checkPath(t.Path)
}
