package snapshot

import "fmt"

// KindPTY is the kind of the two sides of pseudo terminals that the tree has made.
const KindPTY Kind = "pty"

// KindControl is the kind of /dev/tty, opened by a process whose controlling
// terminal is a pseudo terminal of the tree.
const KindControl Kind = "control"

// Terminal is a pseudo terminal whose master side is open in the tree. The side
// that programs are started on is its slave side.
type Terminal struct {
	ID        int     `json:"id"`    // index in Manifest.Terminals
	Index     int     `json:"index"` // N of /dev/pts/N
	Settings  Termios `json:"settings"`
	Rows      int     `json:"rows"`
	Columns   int     `json:"columns"`
	Width     int     `json:"width,omitempty"` // pixels
	Height    int     `json:"height,omitempty"`
	Packets   bool    `json:"packets,omitempty"`   // packet mode (TIOCPKT)
	Locked    bool    `json:"locked,omitempty"`    // nobody can open the slave side
	Exclusive bool    `json:"exclusive,omitempty"` // TIOCEXCL
	// HungUp: the slave side was open and is not any more.
	HungUp bool `json:"hung_up,omitempty"`
	// Session is the session that the terminal controls, 0: none.
	Session    int `json:"session,omitempty"`
	Foreground int `json:"foreground,omitempty"` // process group, 0: none
}

// PTY is an open side of a pseudo terminal.
type PTY struct {
	Terminal int  `json:"terminal"` // Manifest.Terminals
	Master   bool `json:"master,omitempty"`
}

// Kind implements Detail.
func (*PTY) Kind() Kind { return KindPTY }

// check implements Detail.
func (p *PTY) check(v *validator) error { return index("terminal", p.Terminal, len(v.m.Terminals)) }

// Control is /dev/tty.
type Control struct {
	Terminal int `json:"terminal"` // Manifest.Terminals
}

// Kind implements Detail.
func (*Control) Kind() Kind { return KindControl }

// check implements Detail.
func (c *Control) check(v *validator) error {
	return index("terminal", c.Terminal, len(v.m.Terminals))
}

// terminals checks the table of pseudo terminals.
func (v *validator) terminals() error {
	if len(v.m.Terminals) > maxCount {
		return fmt.Errorf("%d terminals", len(v.m.Terminals))
	}
	for i := range v.m.Terminals {
		t := &v.m.Terminals[i]
		if err := t.check(i); err != nil {
			return fmt.Errorf("terminal %d: %w", i, err)
		}
	}
	return nil
}

func (t *Terminal) check(i int) error {
	const most = 1 << 16
	if t.ID != i {
		return fmt.Errorf("its id is %d", t.ID)
	}
	for _, n := range []int{t.Rows, t.Columns, t.Width, t.Height} {
		if n < 0 || n >= most {
			return fmt.Errorf("a window of %d x %d, %d x %d pixels", t.Rows, t.Columns, t.Width, t.Height)
		}
	}
	if t.Index < 0 || t.Session < 0 || t.Session > maxID || t.Foreground < 0 || t.Foreground > maxID {
		return fmt.Errorf("index %d, session %d, process group %d", t.Index, t.Session, t.Foreground)
	}
	return t.Settings.check()
}

// check checks the settings of a terminal.
func (s *Termios) check() error {
	if len(s.Chars) != TermiosChars {
		return fmt.Errorf("%d control characters, want %d", len(s.Chars), TermiosChars)
	}
	return nil
}
