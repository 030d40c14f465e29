package regs

import "encoding/binary"

// Jump64 returns code that jumps to an address from anywhere. It uses r11, which
// no x86-64 calling convention preserves.
func Jump64(to uint64) []byte {
	code := []byte{0x49, 0xbb} // movabs $to, %r11
	code = binary.LittleEndian.AppendUint64(code, to)
	return append(code, 0x41, 0xff, 0xe3) // jmp *%r11
}

// Jump32 returns code for a 32-bit program that jumps from one address to another.
func Jump32(from, to uint32) []byte {
	const size = 5
	return binary.LittleEndian.AppendUint32([]byte{0xe9}, to-from-size)
}

// ReturnError returns code for a function that fails with an error number, as
// the functions of the vdso do, in both modes.
func ReturnError(errno uint32) []byte {
	code := binary.LittleEndian.AppendUint32([]byte{0xb8}, -errno) // mov $-errno, %eax
	return append(code, 0xc3)                                      // ret
}
