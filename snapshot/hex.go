package snapshot

import (
	"fmt"
	"strconv"
	"strings"
)

// Hex is a 64-bit value that is written as a hexadecimal string ("0x7f00"),
// because JSON numbers lose precision above 2^53 in most readers.
type Hex uint64

// MarshalText implements encoding.TextMarshaler.
func (h Hex) MarshalText() ([]byte, error) {
	return strconv.AppendUint([]byte("0x"), uint64(h), 16), nil
}

// UnmarshalText implements encoding.TextUnmarshaler. Only the form that
// MarshalText writes is accepted: lower case, no leading zeros.
func (h *Hex) UnmarshalText(text []byte) error {
	s := string(text)
	digits, ok := strings.CutPrefix(s, "0x")
	if !ok {
		return fmt.Errorf("value %q: want a hexadecimal string such as \"0x1f\"", s)
	}
	v, err := strconv.ParseUint(digits, 16, 64)
	if err != nil {
		return fmt.Errorf("value %q: %w", s, err)
	}
	if strconv.FormatUint(v, 16) != digits {
		return fmt.Errorf("value %q: not in canonical form", s)
	}
	*h = Hex(v)
	return nil
}

// String returns the value as "0x...".
func (h Hex) String() string { return "0x" + strconv.FormatUint(uint64(h), 16) }
