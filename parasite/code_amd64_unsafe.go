package parasite

import "unsafe"

// maxCode bounds the search for the end of a piece.
const maxCode = 512

// text returns the machine code at addr, which is an address in this program's
// own text and never moves.
func text(addr uintptr) []byte {
	p := *(*unsafe.Pointer)(unsafe.Pointer(&addr)) // an address of text, not of the heap
	return unsafe.Slice((*byte)(p), maxCode)
}
