package snapshot

import (
	"bytes"
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

// movable is a detail that names places in the file system.
type movable interface {
	move(m Moves) error
}

// Move changes every path of the manifest that one of the moves fits. What the
// program itself remembers of paths stays as it is.
func (m *Manifest) Move(moves Moves) error {
	for i := range m.Files {
		m.Files[i].Path = moves.apply(m.Files[i].Path)
	}
	for i := range m.Shared {
		if m.Shared[i].Path != "" {
			m.Shared[i].Path = moves.apply(m.Shared[i].Path)
		}
	}
	for i := range m.Processes {
		m.Processes[i].Cwd = moves.apply(m.Processes[i].Cwd)
	}
	for i := range m.Descriptions {
		if d, ok := m.Descriptions[i].Detail.(movable); ok {
			if err := d.move(moves); err != nil {
				return fmt.Errorf("description %d: %w", i, err)
			}
		}
	}
	return nil
}

// moveName changes the name of a unix socket, if it is a path.
func moveName(addr []byte, m Moves) ([]byte, error) {
	const family, name, longest = 2, 2, 108 // struct sockaddr_un
	if len(addr) <= family || addr[0] != 1 || addr[1] != 0 || addr[name] != '/' {
		return addr, nil
	}
	old := string(bytes.TrimRight(addr[name:], "\x00"))
	now := m.apply(old)
	if now == old {
		return addr, nil
	}
	if len(now) >= longest {
		return nil, fmt.Errorf("%q is too long for the name of a socket", now)
	}
	return append(append(bytes.Clone(addr[:name]), now...), 0), nil
}
