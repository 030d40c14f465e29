package procfs

import "bytes"

// words takes a line apart that consists of "name:value" pairs with blanks
// between them, and perhaps after the colon. The first failure sticks.
type words struct {
	rest []byte
	bad  string // name that was bad or missing
}

// text returns the value of the next pair, which must have the given name.
func (w *words) text(name string) []byte {
	if w.bad != "" {
		return nil
	}
	var f []byte
	f, w.rest = cutField(w.rest)
	value, ok := bytes.CutPrefix(f, []byte(name))
	if !ok {
		w.bad = name
		return nil
	}
	if len(value) == 0 {
		value, w.rest = cutField(w.rest)
	}
	return value
}

// get returns the value of the next pair as a number.
func (w *words) get(name string, number func([]byte) (uint64, bool)) uint64 {
	value := w.text(name)
	if w.bad != "" {
		return 0
	}
	n, ok := number(value)
	if !ok {
		w.bad = name
	}
	return n
}

// end reports whether the line is used up.
func (w *words) end() bool { return len(trim(w.rest)) == 0 }

// signed2 is signed in two's complement.
func signed2(s []byte) (uint64, bool) {
	n, ok := signed(s)
	return uint64(n), ok
}
