package snapshot

import (
	"encoding/json"
	"testing"
	"unicode/utf8"
)

func TestText(t *testing.T) {
	for _, c := range []struct{ raw, escaped string }{
		{"", ""},
		{"plain", "plain"},
		{"h\u00e9 \u4e16 \U0001f600", "h\u00e9 \u4e16 \U0001f600"},
		{"caf\xe9", "caf\U0010f8e9"},
		{"cut \xe4\xb8", "cut \U0010f8e4\U0010f8b8"},
		{"\xff\xfe", "\U0010f8ff\U0010f8fe"},
		{"\U0010f8e9", "\U0010f8f4\U0010f88f\U0010f8a3\U0010f8a9"},
		{"\U0010f87f\U0010f900", "\U0010f87f\U0010f900"},
		{"\ufffd", "\ufffd"},
		{"\xed\xb2\x80", "\U0010f8ed\U0010f8b2\U0010f880"}, // a surrogate is not UTF-8
	} {
		if have := escapeText(c.raw); have != c.escaped {
			t.Errorf("escapeText(%q) = %q, want %q", c.raw, have, c.escaped)
		}
		if have := unescapeText(c.escaped); have != c.raw {
			t.Errorf("unescapeText(%q) = %q, want %q", c.escaped, have, c.raw)
		}
	}
}

func FuzzText(f *testing.F) {
	f.Add("a\xe9\U0010f8e9")
	f.Fuzz(func(t *testing.T, s string) {
		e := escapeText(s)
		if !utf8.ValidString(e) {
			t.Fatalf("escapeText(%q) = %q is not UTF-8", s, e)
		}
		if back := unescapeText(e); back != s {
			t.Fatalf("%q comes back as %q", s, back)
		}
	})
}

func TestHex(t *testing.T) {
	for _, text := range []string{"", "0x", "12", "0x01", "0xG", "0XA", "0xA", "0x-1", "+0x1", " 0x1", "0x1_0", "0x10000000000000000"} {
		if err := new(Hex).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
	for text, want := range map[string]Hex{"0x0": 0, "0x7f00": 0x7f00, "0xffffffffffffffff": ^Hex(0)} {
		var h Hex
		if err := h.UnmarshalText([]byte(text)); err != nil || h != want || h.String() != text {
			t.Errorf("%q: %v, %v", text, h, err)
		}
	}
}

func FuzzHex(f *testing.F) {
	f.Add(`"0x7f00"`)
	f.Add(`"0x00"`)
	f.Fuzz(func(t *testing.T, text string) {
		var h Hex
		if json.Unmarshal([]byte(text), &h) != nil {
			return
		}
		var s string
		if err := json.Unmarshal([]byte(text), &s); err != nil {
			return // null, which leaves h as it is
		}
		if h.String() != s {
			t.Fatalf("%q is read as %v", text, h)
		}
	})
}
