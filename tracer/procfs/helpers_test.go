package procfs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// fixture reads a file that was captured from a real process on Linux 6.18.
func fixture(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// equal fails the test if two values differ.
func equal(t testing.TB, got, want any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("mismatch (-want +got):\n%s", d)
	}
}

// must is for what cannot fail unless the test is broken.
func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// refuses checks that a parser refuses each input with a *ParseError about the
// given line.
func refuses[T any](t *testing.T, parse func([]byte) (T, error), cases map[string]int) {
	t.Helper()
	for text, line := range cases {
		_, err := parse([]byte(text))
		var bad *ParseError
		if !errors.As(err, &bad) {
			t.Errorf("%q: error %v, want a *ParseError", text, err)
		} else if bad.Line != line {
			t.Errorf("%q: %v, want line %d", text, bad, line)
		}
	}
}

// fuzz checks that a parser does not panic, and that its errors name a line that exists.
func fuzz[T any](f *testing.F, parse func([]byte) (T, error), seeds ...string) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		_, err := parse(data)
		var bad *ParseError
		switch {
		case err == nil:
		case !errors.As(err, &bad):
			t.Fatalf("%v is no *ParseError", err)
		case bad.Line < 0 || bad.Line > strings.Count(string(data), "\n")+1:
			t.Fatalf("%v: there are not that many lines", err)
		case len(bad.Text) > maxText:
			t.Fatalf("quotes %d bytes", len(bad.Text))
		}
	})
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); !cond(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("never saw %s", what)
		}
	}
}
