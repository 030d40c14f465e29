package snapshot

// KindPath is the kind of descriptions opened with O_PATH.
const KindPath Kind = "path"

// Path is a place in the file system, opened with O_PATH.
type Path struct {
	Path string `json:"path"`
	Mode Hex    `json:"mode"` // st_mode of what it leads to
}

// Kind implements Detail.
func (*Path) Kind() Kind { return KindPath }

// move implements movable.
func (p *Path) move(m *mover) { m.path(&p.Path) }

// check implements Detail.
func (p *Path) check(*validator) error {
	return checkPath(p.Path)
}
