package restore

import "unsafe"

// address is that of a buffer for the next system call.
func address(b []byte) uintptr { return uintptr(unsafe.Pointer(&b[0])) }
