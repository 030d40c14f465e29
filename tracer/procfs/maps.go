package procfs

import (
	"bytes"
	"strings"
)

// Mapping is one memory area (VMA) of a process.
//
// The kernel prints a newline in Path as \012 and nothing else
// in a special way, so a blank or a backslash is just that. Two things cannot
// be told apart in the text: a name that really ends in " (deleted)" from a
// file that was removed, and a name with a literal \012 from one with a
// newline. Compare Dev and Ino with what stat(2) says about Path before using it.
//
// Names that are no path: "[heap]", "[stack]", "[vdso]", "[vvar]",
// "[vvar_vclock]", "[vsyscall]", "[anon:x]" and "[anon_shmem:x]" (named by
// prctl), "anon_inode:[x]". Objects without a directory entry look like a deleted
// path: "/dev/zero" (MAP_SHARED|MAP_ANONYMOUS), "/memfd:x", "/SYSV0000002a" (its
// Ino is the segment's id, which may be 0), "/[aio]", "/anon_hugepage".
type Mapping struct {
	Start, End           uint64 // bytes, half-open
	Offset               uint64 // into the file, bytes
	Read, Write, Exec    bool
	Shared               bool   // MAP_SHARED
	Dev                  uint64 // as st_dev of stat(2); 0 without a file
	Ino                  uint64
	Path                 string // file, or a name such as "[heap]"; see above
	Deleted              bool   // the kernel said " (deleted)" after Path
	Flags                Flags  // from here on: ReadSmaps only
	RSS, Anonymous, Swap uint64 // bytes
	// SharedClean and SharedDirty are the bytes of RSS that another process has
	// mapped as well.
	SharedClean, SharedDirty uint64
	KernelPageSize           uint64 // bytes
}

// Flags are the VmFlags of a memory area: two-letter words with a blank between
// them, as in proc(5): "rd wr mr mw me gd ac".
type Flags string

// Has reports whether a flag is set. Its name has two letters.
func (f Flags) Has(name string) bool {
	if len(name) != 2 {
		return false
	}
	for s := string(f); ; {
		word, rest, more := strings.Cut(s, " ")
		if word == name {
			return true
		}
		if !more {
			return false
		}
		s = rest
	}
}

// ReadMaps lists the memory areas of a process, ascending, without what only
// ReadSmaps gives. A zombie and a kernel thread have none.
func ReadMaps(pid int) ([]Mapping, error) { return read(pidPath(pid, "maps"), parseMaps) }

// parseMaps reads /proc/PID/maps.
func parseMaps(data []byte) ([]Mapping, error) {
	if len(data) == 0 {
		return nil, nil
	}
	out := make([]Mapping, 0, bytes.Count(data, newline)+1)
	names := interner{}
	for n := 1; len(data) > 0; n++ {
		var line []byte
		line, data = cutLine(data)
		out = append(out, Mapping{})
		if reason := parseMapping(&out[len(out)-1], line, names); reason != "" {
			return nil, badLine(n, line, reason)
		}
	}
	return out, nil
}

var newline = []byte{'\n'}

// parseMapping reads "START-END PERM OFFSET MAJOR:MINOR INO   PATH" and returns
// what is wrong with it, or nothing.
func parseMapping(m *Mapping, line []byte, names interner) string {
	addr, rest := cutField(line)
	perm, rest := cutField(rest)
	offset, rest := cutField(rest)
	dev, rest := cutField(rest)
	ino, rest := cutField(rest)
	from, to, found := bytes.Cut(addr, []byte("-"))
	if !found {
		return "no range of addresses"
	}
	var ok [5]bool
	m.Start, ok[0] = hex(from)
	m.End, ok[1] = hex(to)
	m.Offset, ok[2] = hex(offset)
	m.Dev, ok[3] = majMinor(dev)
	m.Ino, ok[4] = decimal(ino)
	switch {
	case !ok[0] || !ok[1] || m.Start >= m.End:
		return "bad range of addresses"
	case !parsePerm(m, perm):
		return "bad permissions"
	case !ok[2]:
		return "bad offset"
	case !ok[3]:
		return "bad device number"
	case !ok[4]:
		return "bad inode number"
	}
	for len(rest) > 0 && rest[0] == ' ' {
		rest = rest[1:]
	}
	if len(rest) > 0 {
		rest, m.Deleted = bytes.CutSuffix(rest, []byte(deletedSuffix))
		m.Path = names.get(rest)
		if bytes.IndexByte(rest, '\\') >= 0 {
			m.Path = strings.ReplaceAll(m.Path, `\012`, "\n")
		}
	}
	return ""
}

// deletedSuffix follows the name of a file without a directory entry.
const deletedSuffix = " (deleted)"

// parsePerm reads "rwxp" with dashes for what is missing.
func parsePerm(m *Mapping, s []byte) bool {
	if len(s) != 4 {
		return false
	}
	m.Read, m.Write, m.Exec, m.Shared = s[0] == 'r', s[1] == 'w', s[2] == 'x', s[3] == 's'
	return (m.Read || s[0] == '-') && (m.Write || s[1] == '-') &&
		(m.Exec || s[2] == '-') && (m.Shared || s[3] == 'p')
}
