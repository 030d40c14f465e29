package snapshot

import (
	"bytes"
	"cmp"
	"fmt"
	"path"
	"strings"
)

// Moves say that directories lie elsewhere than they did; the first that fits a
// path counts.
type Moves []Move

// Move is one directory, or file, that has another path now.
type Move struct {
	Old, New string // plain absolute paths
}

// ParseMoves reads moves of the form OLD=NEW.
func ParseMoves(texts []string) (Moves, error) {
	var moves Moves
	for _, text := range texts {
		old, now, ok := strings.Cut(text, "=")
		if !ok {
			return nil, fmt.Errorf("move %q: want OLD=NEW", text)
		}
		for _, p := range []string{old, now} {
			if err := checkPath(p); err != nil {
				return nil, fmt.Errorf("move %q: %w", text, err)
			}
		}
		moves = append(moves, Move{old, now})
	}
	return moves, nil
}

// String is the form that ParseMoves reads.
func (m Move) String() string { return m.Old + "=" + m.New }

// apply returns where a path leads now.
func (m Moves) apply(p string) string {
	for _, move := range m {
		if rest, ok := strings.CutPrefix(p, move.Old); ok && (rest == "" || rest[0] == '/' || move.Old == "/") {
			return path.Join(move.New, rest)
		}
	}
	return p
}

// mover changes the paths of a manifest.
type mover struct {
	moves Moves
	err   error // the first
}

// movable is a detail that names places in the file system.
type movable interface {
	move(m *mover)
}

// Move changes every path of the manifest that one of the moves fits. What the
// program itself remembers of paths stays as it is.
func (m *Manifest) Move(moves Moves) error {
	to := &mover{moves: moves}
	for i := range m.Files {
		to.path(&m.Files[i].Path)
	}
	for i := range m.Shared {
		to.path(&m.Shared[i].Path)
	}
	for i := range m.Processes {
		to.path(&m.Processes[i].Cwd)
	}
	for i := range m.Descriptions {
		if d, ok := m.Descriptions[i].Detail.(movable); ok {
			d.move(to)
		}
	}
	return to.err
}

// path changes a path; an empty one is none.
func (m *mover) path(p *string) {
	if *p != "" {
		*p = m.moves.apply(*p)
	}
}

// socket changes the name of a unix socket, if it is a path.
func (m *mover) socket(addr *[]byte) {
	const family, name, longest = 2, 2, 108 // struct sockaddr_un
	a := *addr
	if len(a) <= family || a[0] != 1 || a[1] != 0 || a[name] != '/' { // 1: AF_UNIX
		return
	}
	old := string(bytes.TrimRight(a[name:], "\x00"))
	now := m.moves.apply(old)
	switch {
	case now == old:
	case len(now) >= longest:
		m.err = cmp.Or(m.err, fmt.Errorf("%q is too long for the name of a socket", now))
	default:
		*addr = append(append(bytes.Clone(a[:name]), now...), 0)
	}
}
