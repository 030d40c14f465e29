package procfs

import "golang.org/x/sys/unix"

// mkdev puts a device number into the encoding that stat(2) uses.
func mkdev(major, minor uint64) uint64 { return unix.Mkdev(uint32(major), uint32(minor)) }

// kernelDev turns the kernel's internal encoding, which fdinfo shows as "sdev"
// (12 bits of major above 20 bits of minor), into the one of stat(2).
func kernelDev(dev uint64) uint64 { return mkdev(dev>>20, dev&(1<<20-1)) }
