package regs

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// Layouts of two processors: the protection keys lie elsewhere, one has no AVX-512.
var (
	wide   = []XComponent{{2, 576, 256}, {5, 832, 64}, {6, 896, 512}, {7, 1408, 1024}, {9, 2432, 8}}
	sparse = []XComponent{{2, 576, 256}, {5, 1088, 64}, {6, 1152, 512}, {7, 1664, 1024}, {9, 2688, 8}}
	narrow = []XComponent{{2, 576, 256}}
)

// xstateOf makes a state in a layout, with components full of their own number.
func xstateOf(layout []XComponent, size int, bits ...int) []byte {
	state := make([]byte, size)
	for i := range xstateLegacy {
		state[i] = byte(i)
	}
	bv := xstateBase
	for _, bit := range bits {
		c, _ := component(layout, bit)
		copy(state[c.Offset:], bytes.Repeat([]byte{byte(bit)}, c.Size))
		bv |= 1 << bit
	}
	binary.LittleEndian.PutUint64(state[xstateHeader:], bv)
	return state
}

func TestConvertXState(t *testing.T) {
	for _, c := range []struct {
		name     string
		from, to []XComponent
		size     int // of the result
		bits     []int
		ok       bool
	}{
		{"same", wide, wide, 2440, []int{2, 5, 6, 7, 9}, true},
		{"other offsets", wide, sparse, 2696, []int{2, 5, 6, 7, 9}, true},
		{"back", sparse, wide, 2440, []int{2, 9}, true},
		{"unused ones may be missing", wide, narrow, 832, []int{2}, true},
		{"used ones may not", wide, narrow, 832, []int{2, 7}, false},
		{"nothing but x87 and SSE", wide, nil, 576, nil, true},
		{"too small for its components", wide, wide, 1000, []int{2, 9}, false},
		{"too small at all", wide, wide, 500, nil, false},
		{"another size", wide, []XComponent{{2, 576, 128}}, 2440, []int{2}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			last := c.from[len(c.from)-1]
			got, err := ConvertXState(xstateOf(c.from, last.Offset+last.Size, c.bits...), c.from, c.to, c.size)
			if (err == nil) != c.ok {
				t.Fatalf("%v, want ok=%v", err, c.ok)
			}
			if err == nil && !bytes.Equal(got, xstateOf(c.to, c.size, c.bits...)) {
				t.Error("the result is not what that processor would save")
			}
		})
	}
	for name, state := range map[string][]byte{"nothing": nil, "cut": make([]byte, xstateFixed-1)} {
		if _, err := ConvertXState(state, wide, wide, 2440); err == nil || XStateBV(state) != 0 {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestCheckXComponents(t *testing.T) {
	for _, list := range [][]XComponent{nil, wide, sparse, narrow} {
		if err := CheckXComponents(list); err != nil {
			t.Error(err)
		}
	}
	for name, list := range map[string][]XComponent{
		"legacy": {{1, 576, 256}}, "order": {{5, 832, 64}, {2, 576, 256}}, "twice": {{2, 576, 256}, {2, 576, 256}},
		"offset": {{2, 500, 256}}, "size": {{2, 576, 0}}, "negative": {{2, 576, -8}}, "huge": {{2, 576, 1 << 30}}, "bit": {{62, 576, 8}},
	} {
		if CheckXComponents(list) == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func FuzzConvertXState(f *testing.F) {
	f.Add(xstateOf(wide, 2440, 2, 9), 2, 576, 256, 9, 2432, 8, 2696)
	f.Add([]byte{}, 2, 576, 256, 9, 2432, 8, 0)
	f.Fuzz(func(t *testing.T, state []byte, b1, o1, s1, b2, o2, s2, size int) {
		list := []XComponent{{b1, o1, s1}, {b2, o2, s2}}
		if CheckXComponents(list) != nil || size > 1<<22 {
			return
		}
		out, err := ConvertXState(state, list, sparse, size)
		if err == nil && len(out) != size {
			t.Errorf("%d bytes, want %d", len(out), size)
		}
	})
}
