package snapshot

import (
	"reflect"
	"strings"
	"time"
	"unicode/utf8"
)

// Paths and names are bytes to the kernel, strings in JSON are Unicode. A byte
// b >= 0x80 that is no part of valid UTF-8 travels as the private character
// byteRune+b; such characters themselves travel byte by byte. This is a
// bijection between byte strings and the Unicode strings that canonical
// manifests contain.
const byteRune = 0x10f800

// isByteRune reports whether r stands for a byte.
func isByteRune(r rune) bool { return r >= byteRune+0x80 && r <= byteRune+0xff }

// escapeText turns any bytes into valid UTF-8.
func escapeText(s string) string {
	if utf8.ValidString(s) && !strings.ContainsFunc(s, isByteRune) {
		return s
	}
	var out strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if isByteRune(r) || (r == utf8.RuneError && n == 1) {
			for i := range n {
				out.WriteRune(byteRune + rune(s[i]))
			}
		} else {
			out.WriteString(s[:n])
		}
		s = s[n:]
	}
	return out.String()
}

// unescapeText undoes escapeText.
func unescapeText(s string) string {
	if !strings.ContainsFunc(s, isByteRune) {
		return s
	}
	out := make([]byte, 0, len(s))
	for _, r := range s {
		if isByteRune(r) {
			out = append(out, byte(r-byteRune))
		} else {
			out = utf8.AppendRune(out, r)
		}
	}
	return string(out)
}

// hasText tells of a type's kind whether the walk has to look into it.
func hasText(k reflect.Kind) bool {
	switch k {
	case reflect.String, reflect.Struct, reflect.Slice, reflect.Pointer, reflect.Interface:
		return true
	default:
		return false
	}
}

var timeType = reflect.TypeFor[time.Time]()

// mapStrings replaces every string below v by f of it. Slices that are nil
// become empty, as the encoding has no null.
func mapStrings(v reflect.Value, f func(string) string) {
	switch v.Kind() {
	case reflect.String:
		if old := v.String(); old != "" {
			if s := f(old); s != old {
				v.SetString(s)
			}
		}
	case reflect.Struct:
		if v.Type() == timeType {
			return
		}
		for _, field := range v.Fields() {
			if hasText(field.Kind()) {
				mapStrings(field, f)
			}
		}
	case reflect.Slice:
		if v.IsNil() {
			v.Set(reflect.MakeSlice(v.Type(), 0, 0))
		}
		if !hasText(v.Type().Elem().Kind()) {
			return
		}
		for i := range v.Len() {
			mapStrings(v.Index(i), f)
		}
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			mapStrings(v.Elem(), f)
		}
	}
}

// visitStrings calls f for every string below v.
func visitStrings(v reflect.Value, f func(string)) {
	switch v.Kind() {
	case reflect.String:
		f(v.String())
	case reflect.Struct:
		if v.Type() == timeType {
			return
		}
		for _, field := range v.Fields() {
			visitStrings(field, f)
		}
	case reflect.Slice:
		if hasText(v.Type().Elem().Kind()) {
			for i := range v.Len() {
				visitStrings(v.Index(i), f)
			}
		}
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			visitStrings(v.Elem(), f)
		}
	}
}
