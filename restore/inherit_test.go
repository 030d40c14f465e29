package restore

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSpans(t *testing.T) {
	var s spans
	s.add(10, 20)
	s.add(20, 30) // joined
	s.add(50, 60)
	type part struct {
		From, To uint64
		In       bool
	}
	for _, c := range []struct {
		from, to uint64
		want     []part
	}{
		{0, 5, []part{{0, 5, false}}},
		{0, 10, []part{{0, 10, false}}},
		{5, 70, []part{{5, 10, false}, {10, 30, true}, {30, 50, false}, {50, 60, true}, {60, 70, false}}},
		{15, 25, []part{{15, 25, true}}},
		{30, 55, []part{{30, 50, false}, {50, 55, true}}},
		{60, 61, []part{{60, 61, false}}},
		{7, 7, nil},
	} {
		var got []part
		s.split(c.from, c.to, func(from, to uint64, in bool) { got = append(got, part{from, to, in}) })
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%d to %d (-want +got):\n%s", c.from, c.to, diff)
		}
	}
}
