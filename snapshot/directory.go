package snapshot

// KindDirectory is the kind of open directories.
const KindDirectory Kind = "directory"

// Directory is an open directory.
type Directory struct {
	Path   string `json:"path"`
	Gone   bool   `json:"gone,omitempty"` // removed while it was open
	Offset int64  `json:"offset"`         // position of getdents, as the file system gave it
}

// Kind implements Detail.
func (*Directory) Kind() Kind { return KindDirectory }

// move implements movable.
func (d *Directory) move(m *mover) { m.path(&d.Path) }

// check implements Detail.
func (d *Directory) check(*validator) error {
	return checkPath(d.Path)
}
