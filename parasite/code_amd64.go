package parasite

import "bytes"

// Implemented in blob_amd64.s.
func addresses() (call, batch uintptr)

var (
	callPiece  = cut(first(addresses()))
	batchPiece = cut(second(addresses()))
)

func first(a, _ uintptr) uintptr  { return a }
func second(_, b uintptr) uintptr { return b }

// Call returns the piece for programs that go on.
func Call() Piece { return callPiece }

// Batch returns the piece for processes that are being rebuilt.
func Batch() Piece { return batchPiece }

// endMark is END_MARK of the assembler file.
var endMark = bytes.Repeat([]byte{0x0f, 0x0b}, 4)

// cut copies the code that begins at addr and finds its 32-bit entry.
func cut(addr uintptr) Piece {
	code := text(addr)
	end := bytes.Index(code, endMark)
	code = bytes.Clone(code[:end])
	p := Piece{Bytes: code}
	if i := bytes.Index(code, []byte{0x48, 0xcf}); i >= 0 { // iretq ends the 64-bit path of call
		p.Entry32 = i + 2
		p.Back = bytes.Index(code, []byte{0x48, 0xc7, 0xc0, 14}) // mov $SYS_RTSIGMASK, %rax
	} else { // the first breakpoint ends the 64-bit path of batch
		p.Entry32 = bytes.IndexByte(code, 0xcc) + 1
	}
	return p
}
