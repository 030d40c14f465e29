package snapshot

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
)

// encodeManifest returns the canonical encoding of m, which is the content of
// manifest.json. While it runs m must not be used by others: strings that are
// not UTF-8 are escaped in place and restored. Nil slices become empty ones.
func encodeManifest(m *Manifest) ([]byte, error) {
	mapStrings(reflect.ValueOf(m), escapeText)
	defer mapStrings(reflect.ValueOf(m), unescapeText)
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode the manifest: %w", err)
	}
	data = append(data, '\n')
	if len(data) > maxManifest {
		return nil, fmt.Errorf("the manifest needs %d bytes, more than the %d that the format allows", len(data), maxManifest)
	}
	return data, nil
}

// decodeManifest decodes the content of manifest.json and validates it. Only
// the canonical encoding is accepted.
func decodeManifest(data []byte) (*Manifest, error) {
	if err := checkVersion(data); err != nil {
		return nil, err
	}
	m := new(Manifest)
	if err := decodeStrict(data, m); err != nil {
		return nil, jsonError(err)
	}
	mapStrings(reflect.ValueOf(m), unescapeText)
	again, err := encodeManifest(m)
	if err != nil {
		return nil, corrupt(manifestName, -1, "%v", err)
	}
	if at := firstDifference(data, again); at >= 0 {
		return nil, corrupt(manifestName, at, "not in canonical form")
	}
	if err := m.Validate(); err != nil {
		return nil, corrupt(manifestName, -1, "%v", err)
	}
	return m, nil
}

// checkVersion looks at the format version only, as the rest of a manifest of
// another version need not be what this package expects.
func checkVersion(data []byte) error {
	var head struct {
		Format *Format `json:"format"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return jsonError(err)
	}
	if head.Format == nil {
		return corrupt(manifestName, -1, "there is no format version")
	}
	if f := *head.Format; f.Major != FormatMajor || f.Minor < 0 || f.Minor > FormatMinor {
		return &VersionError{Have: f}
	}
	return nil
}

// jsonError turns an error of encoding/json into a CorruptError.
func jsonError(err error) error {
	offset := int64(-1)
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		offset = e.Offset
	}
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		offset = e.Offset
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return corrupt(manifestName, offset, "ends too early")
	}
	return corrupt(manifestName, offset, "%v", err)
}

// firstDifference returns the first position at which a and b differ, -1 if they are equal.
func firstDifference(a, b []byte) int64 {
	if bytes.Equal(a, b) {
		return -1
	}
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return int64(i)
		}
	}
	return int64(n)
}
