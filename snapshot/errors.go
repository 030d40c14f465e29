package snapshot

import (
	"errors"
	"fmt"
)

// ErrNotImage tells that a directory is no image: it has no manifest.
var ErrNotImage = errors.New("not a crtrace image (there is no " + manifestName + " in it)")

// CorruptError tells that an image is damaged or was made to mislead.
type CorruptError struct {
	File   string // file name inside the image
	Offset int64  // position of the fault in bytes, -1 where it has none
	Reason string
}

// Error implements error.
func (e *CorruptError) Error() string {
	if e.Offset < 0 {
		return fmt.Sprintf("image is damaged: %s: %s", e.File, e.Reason)
	}
	return fmt.Sprintf("image is damaged: %s, offset %d: %s", e.File, e.Offset, e.Reason)
}

// corrupt makes a CorruptError. An offset of -1 means that there is none.
func corrupt(file string, offset int64, format string, args ...any) error {
	return &CorruptError{File: file, Offset: offset, Reason: fmt.Sprintf(format, args...)}
}

// VersionError tells that an image has a format that this program can't read.
type VersionError struct {
	Have Format
}

// Error implements error.
func (e *VersionError) Error() string {
	return fmt.Sprintf("image has format %d.%d, this crtrace reads %d.0 to %d.%d; use the crtrace that wrote it",
		e.Have.Major, e.Have.Minor, FormatMajor, FormatMajor, FormatMinor)
}
