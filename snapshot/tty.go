package snapshot

import "fmt"

// KindTTY is the kind of terminals that belong to somebody outside the tree.
const KindTTY Kind = "tty"

// TTY is a terminal outside the tree: on restore the program gets the
// restorer's terminal instead.
type TTY struct {
	Path    string `json:"path"`
	Control bool   `json:"control,omitempty"` // opened as /dev/tty
	// Settings are those that the program saw, while it was in the foreground of
	// this terminal; otherwise they were somebody else's.
	Settings *Termios `json:"settings,omitempty"`
	Rows     int      `json:"rows,omitempty"`
	Columns  int      `json:"columns,omitempty"`
	// Foreground is the process group in the foreground of the terminal, if the
	// tree has a process in it.
	Foreground int `json:"foreground,omitempty"`
}

// Termios are the settings of a terminal (struct termios of the kernel).
type Termios struct {
	Input   Hex    `json:"input"` // c_iflag
	Output  Hex    `json:"output"`
	Control Hex    `json:"control"`
	Local   Hex    `json:"local"`
	Line    int    `json:"line"`  // line discipline
	Chars   []byte `json:"chars"` // c_cc, TermiosChars bytes
}

// TermiosChars is the number of control characters (NCCS of the kernel).
const TermiosChars = 19

// Kind implements Detail.
func (*TTY) Kind() Kind { return KindTTY }

// check implements Detail.
func (t *TTY) check(*validator) error {
	const most = 1 << 16
	if t.Settings != nil {
		if err := t.Settings.check(); err != nil {
			return err
		}
	}
	if t.Rows < 0 || t.Rows >= most || t.Columns < 0 || t.Columns >= most {
		return fmt.Errorf("a window of %d x %d", t.Rows, t.Columns)
	}
	if t.Foreground < 0 || t.Foreground > maxID {
		return fmt.Errorf("process group %d", t.Foreground)
	}
	return checkPath(t.Path)
}
