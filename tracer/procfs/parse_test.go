package procfs

import (
	"math"
	"testing"
)

func TestNumbers(t *testing.T) {
	type result struct {
		N  uint64
		OK bool
	}
	cases := []struct {
		name  string
		parse func([]byte) (uint64, bool)
		in    string
		want  result
	}{
		{"decimal", decimal, "0", result{0, true}},
		{"decimal", decimal, "18446744073709551615", result{math.MaxUint64, true}},
		{"decimal", decimal, "18446744073709551616", result{}},
		{"decimal", decimal, "99999999999999999999", result{}},
		{"decimal", decimal, "", result{}},
		{"decimal", decimal, "1a", result{}},
		{"decimal", decimal, "-1", result{}},
		{"signed", signed2, "-9223372036854775808", result{1 << 63, true}},
		{"signed", signed2, "9223372036854775807", result{math.MaxInt64, true}},
		{"hex", hex, "ffffffffffffffff", result{math.MaxUint64, true}},
		{"hex", hex, "0fE", result{254, true}},
		{"hex", hex, "10000000000000000", result{}},
		{"hex", hex, "g", result{}},
		{"hex", hex, "", result{}},
		{"prefixed hex", prefixedHex, "0x10", result{16, true}},
		{"prefixed hex", prefixedHex, "10", result{}},
		{"prefixed hex", prefixedHex, "0x", result{}},
		{"octal", octal, "02000002", result{0o2000002, true}},
		{"octal", octal, "01777777777777777777777", result{math.MaxUint64, true}},
		{"octal", octal, "02000000000000000000000", result{}},
		{"octal", octal, "8", result{}},
	}
	for _, c := range cases {
		n, ok := c.parse([]byte(c.in))
		if ok != c.want.OK || ok && n != c.want.N {
			t.Errorf("%s %q: %d, %v, want %v", c.name, c.in, n, ok, c.want)
		}
	}
	for _, s := range []string{"9223372036854775808", "-9223372036854775809", "-", "--1", "+1"} {
		if n, ok := signed([]byte(s)); ok {
			t.Errorf("signed %q: %d", s, n)
		}
	}
}

func TestDevices(t *testing.T) {
	dev, ok := majMinor([]byte("fe:12345"))
	if want := mkdev(0xfe, 0x12345); !ok || dev != want {
		t.Errorf("majMinor: %#x, %v, want %#x", dev, ok, want)
	}
	if got, want := kernelDev(0xfe00001), mkdev(0xfe, 1); got != want {
		t.Errorf("kernelDev: %#x, want %#x", got, want)
	}
}
