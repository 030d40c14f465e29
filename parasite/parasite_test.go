package parasite

import (
	"testing"

	"golang.org/x/arch/x86/x86asm"
)

// branches are the opcodes that change the flow of control by a relative operand.
func isBranch(op x86asm.Op) bool {
	switch op {
	case x86asm.JMP, x86asm.JE, x86asm.JNE, x86asm.JA, x86asm.JAE, x86asm.JB, x86asm.JBE,
		x86asm.JG, x86asm.JGE, x86asm.JL, x86asm.JLE, x86asm.JO, x86asm.JNO, x86asm.JP,
		x86asm.JNP, x86asm.JS, x86asm.JNS, x86asm.JCXZ, x86asm.JECXZ, x86asm.JRCXZ,
		x86asm.CALL, x86asm.LOOP, x86asm.LOOPE, x86asm.LOOPNE:
		return true
	}
	return false
}

// check decodes every byte of a piece and returns what breaks its contract.
func check(code []byte) []string {
	var faults []string
	starts := map[int]bool{}
	var targets []int
	for pc := 0; pc < len(code); {
		inst, err := x86asm.Decode(code[pc:], 64)
		if err != nil || inst.Op == 0 {
			return append(faults, "byte does not decode")
		}
		starts[pc] = true
		next := pc + inst.Len
		for _, arg := range inst.Args {
			switch a := arg.(type) {
			case x86asm.Mem:
				if a.Base == x86asm.RIP || a.Index == x86asm.RIP {
					faults = append(faults, "operand relative to rip: "+inst.String())
				}
			case x86asm.Rel:
				if !isBranch(inst.Op) {
					faults = append(faults, "relative operand of "+inst.String())
				}
				targets = append(targets, next+int(a))
			}
		}
		pc = next
	}
	for _, t := range targets {
		if !starts[t] {
			faults = append(faults, "branch leaves the code or lands inside an instruction")
		}
	}
	return faults
}

func TestBlobIsSelfContained(t *testing.T) {
	for name, p := range map[string]Piece{"call": Call(), "batch": Batch()} {
		if faults := check(p.Bytes); len(faults) > 0 {
			t.Errorf("%s: %q", name, faults)
		}
		for _, entry := range []int{p.Entry, p.Entry32} {
			if entry < 0 || entry >= len(p.Bytes) {
				t.Errorf("%s: entry %d lies outside %d bytes", name, entry, len(p.Bytes))
			}
		}
		last, err := x86asm.Decode(p.Bytes[len(p.Bytes)-1:], 64)
		if name == "batch" && (err != nil || last.Op != x86asm.INT) {
			t.Errorf("batch does not end in a breakpoint: %v", err)
		}
	}
	back, err := x86asm.Decode(Call().Bytes[Call().Back:], 64)
	if err != nil || back.String() != "MOV RAX, 0xe" {
		t.Errorf("the way back begins with %v", back)
	}
	inst, err := x86asm.Decode(Call().Bytes[Call().Entry32:], 64)
	if err != nil || inst.String() != "INT 0x80" {
		t.Errorf("call's 32-bit entry is %v, want INT 0x80", inst)
	}
}

// TestCheckFindsFaults proves that the check above can fail.
func TestCheckFindsFaults(t *testing.T) {
	for name, code := range map[string][]byte{
		"rip-relative load": {0x48, 0x8b, 0x05, 0x10, 0, 0, 0},
		"branch out":        {0xeb, 0x7f},
		"branch inside":     {0xeb, 0xff},
		"cut short":         {0x48, 0x8b},
	} {
		if faults := check(code); len(faults) == 0 {
			t.Errorf("%s: not found", name)
		}
	}
}

func TestEncodedSizes(t *testing.T) {
	if got := len((&Slot{}).Append(nil)); got != SlotSize {
		t.Errorf("slot is %d bytes, want %d", got, SlotSize)
	}
	if got := len((&Record{}).Append(nil)); got != RecordSize {
		t.Errorf("record is %d bytes, want %d", got, RecordSize)
	}
}
