package procfs

import "bytes"

// ReadSmaps is ReadMaps with flags and sizes. The kernel walks the page tables
// of the whole process for it: use ReadMaps where the areas are enough.
func ReadSmaps(pid int) ([]Mapping, error) { return read(pidPath(pid, "smaps"), parseSmaps) }

// parseSmaps reads /proc/PID/smaps: a line as in maps for each area, followed
// by lines "Key: value" that belong to it.
func parseSmaps(data []byte) ([]Mapping, error) {
	var out []Mapping
	if len(data) > 0 {
		out = make([]Mapping, 0, len(data)/smapsEntry+1)
	}
	names := interner{}
	for n := 1; len(data) > 0; n++ {
		var line []byte
		line, data = cutLine(data)
		reason := ""
		switch {
		case len(line) == 0:
			reason = "an empty line"
		case line[0] < 'A' || line[0] > 'Z': // addresses are in small letters
			out = append(out, Mapping{})
			reason = parseMapping(&out[len(out)-1], line, names)
		case len(out) == 0:
			reason = "no memory area before it"
		default:
			reason = parseSmapsKey(&out[len(out)-1], line, names)
		}
		if reason != "" {
			return nil, badLine(n, line, reason)
		}
	}
	return out, nil
}

// smapsEntry is a low estimate of the bytes that one area takes in smaps.
const smapsEntry = 600

// parseSmapsKey reads one "Key: value" line and returns what is wrong with it.
func parseSmapsKey(m *Mapping, line []byte, names interner) string {
	key, value, found := bytes.Cut(line, []byte(":"))
	if !found {
		return "no colon"
	}
	var field *uint64
	switch string(key) {
	case "Rss":
		field = &m.RSS
	case "Anonymous":
		field = &m.Anonymous
	case "Swap":
		field = &m.Swap
	case "Shared_Clean":
		field = &m.SharedClean
	case "Shared_Dirty":
		field = &m.SharedDirty
	case "KernelPageSize":
		field = &m.KernelPageSize
	case "VmFlags":
		m.Flags = Flags(names.get(trim(value)))
		return ""
	default:
		return ""
	}
	digits, rest := cutField(value)
	n, ok := decimal(digits)
	if !ok || n >= 1<<54 || string(trim(rest)) != "kB" {
		return "not a number of kB"
	}
	*field = n << 10
	return ""
}
