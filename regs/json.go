package regs

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// field names one register and where it lies.
type field struct {
	name string
	at   *uint64
}

// fields lists the registers in the order in which people look for them.
func (r *AMD64) fields() []field {
	return []field{
		{"rip", &r.Rip}, {"rsp", &r.Rsp}, {"rax", &r.Rax}, {"orig_rax", &r.OrigRax},
		{"rdi", &r.Rdi}, {"rsi", &r.Rsi}, {"rdx", &r.Rdx}, {"r10", &r.R10},
		{"r8", &r.R8}, {"r9", &r.R9}, {"rbx", &r.Rbx}, {"rbp", &r.Rbp},
		{"rcx", &r.Rcx}, {"r11", &r.R11}, {"r12", &r.R12}, {"r13", &r.R13},
		{"r14", &r.R14}, {"r15", &r.R15}, {"eflags", &r.Eflags},
		{"cs", &r.Cs}, {"ss", &r.Ss}, {"ds", &r.Ds}, {"es", &r.Es},
		{"fs", &r.Fs}, {"gs", &r.Gs}, {"fs_base", &r.FsBase}, {"gs_base", &r.GsBase},
	}
}

// MarshalJSON writes the registers as an object of hexadecimal strings.
func (r AMD64) MarshalJSON() ([]byte, error) {
	out := []byte{'{'}
	for i, f := range r.fields() {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, '"')
		out = append(out, f.name...)
		out = append(out, `":"0x`...)
		out = strconv.AppendUint(out, *f.at, 16)
		out = append(out, '"')
	}
	return append(out, '}'), nil
}

// UnmarshalJSON reads what MarshalJSON wrote. Every register must be there.
func (r *AMD64) UnmarshalJSON(data []byte) error {
	var in map[string]string
	if err := json.Unmarshal(data, &in); err != nil {
		return err
	}
	fields := r.fields()
	if len(in) != len(fields) {
		return fmt.Errorf("%d registers, want %d", len(in), len(fields))
	}
	for _, f := range fields {
		text, ok := in[f.name]
		if !ok {
			return fmt.Errorf("register %s is missing", f.name)
		}
		if len(text) < 3 || text[:2] != "0x" {
			return fmt.Errorf("register %s: %q is not hexadecimal", f.name, text)
		}
		v, err := strconv.ParseUint(text[2:], 16, 64)
		if err != nil {
			return fmt.Errorf("register %s: %w", f.name, err)
		}
		*f.at = v
	}
	return nil
}
