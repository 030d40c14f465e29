package snapshot

// KindRegular is the kind of regular files.
const KindRegular Kind = "regular"

// Regular is an open regular file.
type Regular struct {
	File   int   `json:"file"`   // Manifest.Files
	Offset int64 `json:"offset"` // bytes
}

// Kind implements Detail.
func (*Regular) Kind() Kind { return KindRegular }

// check implements Detail.
func (r *Regular) check(v *validator) error {
	if err := notNegative("the offset", r.Offset); err != nil {
		return err
	}
	return index("file", r.File, len(v.m.Files))
}
