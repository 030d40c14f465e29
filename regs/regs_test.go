package regs

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/arch/x86/x86asm"
)

// distinct returns registers that all have different values.
func distinct() AMD64 {
	var r AMD64
	v := reflect.ValueOf(&r).Elem()
	for i := range v.NumField() {
		v.Field(i).SetUint(^uint64(0) - uint64(i)*0x0123_4567_89ab)
	}
	return r
}

func TestJSONRoundTrip(t *testing.T) {
	for name, want := range map[string]AMD64{"zero": {}, "distinct": distinct()} {
		text, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got AMD64
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		again, err := json.Marshal(got)
		if err != nil || string(again) != string(text) {
			t.Errorf("%s: %s becomes %s, %v", name, text, again, err)
		}
	}
}

// TestJSONHoldsAll: no field of the struct is forgotten.
func TestJSONHoldsAll(t *testing.T) {
	var r AMD64
	seen := map[*uint64]bool{}
	for _, f := range r.fields() {
		seen[f.at] = true
	}
	if want := reflect.TypeFor[AMD64]().NumField(); len(seen) != want {
		t.Errorf("%d registers are written, want %d", len(seen), want)
	}
}

func TestJSONRefusals(t *testing.T) {
	good, err := json.Marshal(distinct())
	if err != nil {
		t.Fatal(err)
	}
	change := func(from, to string) string {
		out := strings.Replace(string(good), from, to, 1)
		if out == string(good) {
			t.Fatalf("%q is not in %s", from, good)
		}
		return out
	}
	for name, text := range map[string]string{
		"missing":       `{"rip":"0x1"}`,
		"none":          `{}`,
		"not an object": `["0x1"]`,
		"a number":      change(`"rip":"0xff`, `"rip":1,"x":"0xff`),
		"unknown name":  change(`"rip"`, `"rap"`),
		"additional":    change(`{`, `{"zmm":"0x0",`),
		"no prefix":     change(`"rip":"0x`, `"rip":"`),
		"no digits":     `{"rip":"0x"}`,
		"sign":          change(`"rip":"0x`, `"rip":"0x-`),
		"too large":     change(`"rip":"0x`, `"rip":"0x11111111111111111`),
		"cut":           string(good[:len(good)-3]),
	} {
		var r AMD64
		if err := json.Unmarshal([]byte(text), &r); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func FuzzJSON(f *testing.F) {
	good, err := json.Marshal(distinct())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"rip":"0x"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var r, again AMD64
		if json.Unmarshal(data, &r) != nil {
			return
		}
		text, err := json.Marshal(r)
		if err != nil || json.Unmarshal(text, &again) != nil || again != r {
			t.Errorf("%s becomes %s, %v", data, text, err)
		}
	})
}

func TestModes(t *testing.T) {
	for _, c := range []struct {
		regs           AMD64
		compat, inCall bool
	}{
		{AMD64{Cs: UserCS64, OrigRax: 0}, false, true},
		{AMD64{Cs: UserCS64, OrigRax: ^uint64(0)}, false, false},
		{AMD64{Cs: UserCS32, OrigRax: 162}, true, true},
	} {
		if c.regs.Compat() != c.compat || c.regs.InSyscall() != c.inCall {
			t.Errorf("%+v: compat %v, in a call %v", c.regs, c.regs.Compat(), c.regs.InSyscall())
		}
	}
}

// decode returns the instructions of code; all bytes must belong to one.
func decode(t *testing.T, code []byte, mode int) []x86asm.Inst {
	t.Helper()
	var out []x86asm.Inst
	for len(code) > 0 {
		inst, err := x86asm.Decode(code, mode)
		if err != nil {
			t.Fatalf("% x: %v", code, err)
		}
		out, code = append(out, inst), code[inst.Len:]
	}
	return out
}

func TestJump64(t *testing.T) {
	for _, to := range []uint64{0, 0x7fff_f7fc_1234, 1 << 63, ^uint64(0)} {
		code := decode(t, Jump64(to), 64)
		if len(code) != 2 || code[0].Op != x86asm.MOV || code[0].Args[0] != x86asm.R11 || code[0].Args[1] != x86asm.Imm(int64(to)) ||
			code[1].Op != x86asm.JMP || code[1].Args[0] != x86asm.R11 {
			t.Errorf("0x%x: %v", to, code)
		}
	}
}

func TestJump32(t *testing.T) {
	for _, c := range [][2]uint32{{0x1000, 0x2000}, {0x2000, 0x1000}, {0xf7fc0000, 0x10000000}, {0x10000000, 0xf7fc0000}, {7, 7}} {
		code := decode(t, Jump32(c[0], c[1]), 32)
		if len(code) != 1 || code[0].Op != x86asm.JMP {
			t.Errorf("%v: %v", c, code)
			continue
		}
		rel, ok := code[0].Args[0].(x86asm.Rel)
		if got := c[0] + uint32(code[0].Len) + uint32(rel); !ok || got != c[1] {
			t.Errorf("from 0x%x: leads to 0x%x, want 0x%x", c[0], got, c[1])
		}
	}
}

func TestReturnError(t *testing.T) {
	for _, mode := range []int{32, 64} {
		code := decode(t, ReturnError(38), mode)
		if len(code) != 2 || code[0].Op != x86asm.MOV || code[0].Args[0] != x86asm.EAX || code[1].Op != x86asm.RET {
			t.Fatalf("mode %d: %v", mode, code)
		}
		if got := fmt.Sprintf("%#x", uint32(code[0].Args[1].(x86asm.Imm))); got != "0xffffffda" {
			t.Errorf("mode %d: returns %s, want -38", mode, got)
		}
	}
}
