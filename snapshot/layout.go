package snapshot

import (
	"math"
	"strings"
)

// PageSize is the size of a page in bytes, the only one that the format knows.
const PageSize = 4096

// Names of the files of an image. Those of stores are made from the store's name.
const (
	manifestName = "manifest.json"
	checksumName = "manifest.sha256"
	xstateName   = "xstate.bin"
	filesName    = "files"
	mapSuffix    = ".map"
	dataSuffix   = ".pages"
)

// Bounds that a reader checks before it allocates or reads anything.
const (
	maxManifest    = 256 << 20     // bytes
	maxRecords     = 1 << 26       // in a map
	maxRecordPages = 256           // in a data record
	maxZeroPages   = math.MaxInt32 // in a zero record that this package writes
	maxAddress     = 1 << 47       // first address above user space
	maxObject      = math.MaxInt64 // size of a shared memory
	maxID          = 1 << 22       // PID_MAX_LIMIT
	maxCount       = 1 << 20       // elements of any array of the manifest
	maxSignal      = 64
)

// partName is the name of an image's directory while it is written.
func partName(base string) string {
	const most = 200 // bytes of the final name
	return "." + base[:min(len(base), most)] + "." + randomHex(partDigits/2) + partSuffix
}

const (
	partSuffix = ".part"
	partDigits = 16 // hexadecimal
)

// IsPart tells whether a name is one that a directory has while an image is
// written into it.
func IsPart(name string) bool {
	rest, ok := strings.CutSuffix(name, partSuffix)
	return ok && len(rest) > partDigits+2 && rest[0] == '.' && rest[len(rest)-partDigits-1] == '.' &&
		isHexDigits(rest[len(rest)-partDigits:], partDigits)
}

// isStoreName reports whether name matches ^(mm|shm)-[0-9]+$ and is short.
func isStoreName(name string) bool {
	digits, ok := strings.CutPrefix(name, "mm-")
	if !ok {
		digits, ok = strings.CutPrefix(name, "shm-")
	}
	return ok && digits != "" && len(digits) <= 10 && strings.Trim(digits, "0123456789") == ""
}

// isHexDigits reports whether s consists of n lower-case hexadecimal digits.
func isHexDigits(s string, n int) bool {
	return len(s) == n && strings.Trim(s, "0123456789abcdef") == ""
}

// isSHA256 reports whether s is a SHA-256 in the form that images use.
func isSHA256(s string) bool { return isHexDigits(s, 64) }
