package procfs

import (
	"bytes"
	"fmt"
	"math"
)

// ParseError is a line of a /proc file that makes no sense.
type ParseError struct {
	Line   int    // 1 is the first line; 0: the file as a whole
	Text   string // start of the line
	Reason string
}

// Error implements error.
func (e *ParseError) Error() string {
	if e.Line == 0 {
		return e.Reason
	}
	return fmt.Sprintf("line %d %q: %s", e.Line, e.Text, e.Reason)
}

// maxText is how much of a bad line an error quotes.
const maxText = 120

// badLine makes a *ParseError.
func badLine(line int, text []byte, reason string) error {
	if len(text) > maxText {
		text = text[:maxText]
	}
	return &ParseError{Line: line, Text: string(text), Reason: reason}
}

// badFile makes a *ParseError about a whole file.
func badFile(reason string) error { return &ParseError{Reason: reason} }

const maxInt = math.MaxInt

// cutLine splits data after its first line, which comes without the newline.
func cutLine(data []byte) (line, rest []byte) {
	line, rest, _ = bytes.Cut(data, []byte("\n"))
	return line, rest
}

// cutField splits off the first word; blanks before it are skipped.
func cutField(s []byte) (field, rest []byte) {
	i := 0
	for i < len(s) && blank(s[i]) {
		i++
	}
	j := i
	for j < len(s) && !blank(s[j]) {
		j++
	}
	return s[i:j], s[j:]
}

func blank(c byte) bool { return c == ' ' || c == '\t' }

// trim cuts blanks from both ends.
func trim(s []byte) []byte {
	for len(s) > 0 && blank(s[0]) {
		s = s[1:]
	}
	for len(s) > 0 && blank(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

// decimal reads an unsigned decimal number, all of s and nothing else.
func decimal(s []byte) (uint64, bool) {
	if len(s) == 0 || len(s) > 20 {
		return 0, false
	}
	var n uint64
	for _, c := range s {
		d := uint64(c - '0')
		if d > 9 || n > (math.MaxUint64-d)/10 {
			return 0, false
		}
		n = n*10 + d
	}
	return n, true
}

// signed reads a decimal number with or without a minus sign.
func signed(s []byte) (int64, bool) {
	if len(s) > 0 && s[0] == '-' {
		n, ok := decimal(s[1:])
		if !ok || n > 1<<63 {
			return 0, false
		}
		return -int64(n), true
	}
	n, ok := decimal(s)
	return int64(n), ok && n <= math.MaxInt64
}

// integer reads a decimal number that fits an int.
func integer(s []byte) (int, bool) {
	n, ok := signed(s)
	return int(n), ok && int64(int(n)) == n
}

// hex reads a hexadecimal number without a prefix.
func hex(s []byte) (uint64, bool) {
	if len(s) == 0 || len(s) > 16 {
		return 0, false
	}
	var n uint64
	for _, c := range s {
		d := uint64(hexDigit[c])
		if d > 15 {
			return 0, false
		}
		n = n<<4 | d
	}
	return n, true
}

// prefixedHex reads a hexadecimal number with 0x before it.
func prefixedHex(s []byte) (uint64, bool) {
	s, ok := bytes.CutPrefix(s, []byte("0x"))
	if !ok {
		return 0, false
	}
	return hex(s)
}

// octal reads an octal number; leading zeros are fine.
func octal(s []byte) (uint64, bool) {
	if len(s) == 0 || len(s) > 23 {
		return 0, false
	}
	var n uint64
	for _, c := range s {
		d := uint64(c - '0')
		if d > 7 || n>>61 != 0 {
			return 0, false
		}
		n = n<<3 | d
	}
	return n, true
}

// hexDigit is the value of each hexadecimal digit, 0xff for other bytes.
var hexDigit = func() (t [256]byte) {
	for i := range t {
		t[i] = 0xff
	}
	for i := range 10 {
		t['0'+i] = byte(i)
	}
	for i := range 6 {
		t['a'+i], t['A'+i] = byte(10+i), byte(10+i)
	}
	return t
}()

// integers reads the words of s as numbers.
func integers(s []byte) ([]int, bool) {
	var out []int
	for {
		var f []byte
		if f, s = cutField(s); len(f) == 0 {
			return out, true
		}
		n, ok := integer(f)
		if !ok {
			return nil, false
		}
		out = append(out, n)
	}
}

// majMinor reads a device number as the kernel prints it, two hexadecimal
// numbers and a colon, into the encoding of stat(2).
func majMinor(s []byte) (uint64, bool) {
	high, low, found := bytes.Cut(s, []byte(":"))
	major, ok1 := hex(high)
	minor, ok2 := hex(low)
	if !found || !ok1 || !ok2 || major > math.MaxUint32 || minor > math.MaxUint32 {
		return 0, false
	}
	return mkdev(major, minor), true
}

// interner gives equal byte slices one string.
type interner map[string]string

func (t interner) get(b []byte) string {
	if s, ok := t[string(b)]; ok {
		return s
	}
	s := string(b)
	t[s] = s
	return s
}
