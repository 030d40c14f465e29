package snapshot

import (
	"errors"
	"fmt"
	"path"
	"reflect"
	"strings"

	"github.com/crtrace/crtrace/regs"
)

// Validate checks everything about a manifest that does not need other files:
// that what it refers to exists, that ranges and numbers are possible, that
// nothing overlaps. Readers and writers do it, so that other code can rely on
// it. docs/format.md has the list.
func (m *Manifest) Validate() error {
	v := validator{m: m, pids: map[int]*Process{}, tids: map[int]bool{}, stores: map[string]bool{}}
	for _, step := range []func() error{v.head, v.storeList, v.files, v.shared, v.processes, v.zombies, v.ipc, v.terminals, v.descriptions, v.storeUse, v.strings} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// validator carries what several checks of one manifest share.
type validator struct {
	m      *Manifest
	pids   map[int]*Process
	tids   map[int]bool
	stores map[string]bool // whether the store has an owner
}

// head checks the members that have one value.
func (v *validator) head() error {
	m := v.m
	h := &m.Host
	switch {
	case m.Format.Major != FormatMajor || m.Format.Minor < 0 || m.Format.Minor > FormatMinor:
		return &VersionError{Have: m.Format}
	case !isHexDigits(m.ID, 32):
		return fmt.Errorf("id %q is not 32 hexadecimal digits", m.ID)
	case m.Created.Location().String() != "UTC":
		return errors.New("the time of creation is not in UTC")
	case h.Arch != "amd64":
		return fmt.Errorf("architecture %q is not known", h.Arch)
	case h.PageSize != PageSize:
		return fmt.Errorf("pages of %d bytes are not possible", h.PageSize)
	}
	if err := regs.CheckXComponents(h.XState); err != nil {
		return err
	}
	if m.Session < 0 || m.Session > maxID || m.Group < 0 || m.Group > maxID {
		return fmt.Errorf("session %d, process group %d", m.Session, m.Group)
	}
	counts := []int{len(m.Processes), len(m.Files), len(m.Shared), len(m.Descriptions), len(m.Stores)}
	for _, n := range counts {
		if n > maxCount {
			return fmt.Errorf("an array of %d elements is too long", n)
		}
	}
	if x := m.XState; x.Size != 0 || x.Name != "" || x.SHA256 != "" {
		if x.Size <= 0 || x.Name != xstateName || !isSHA256(x.SHA256) {
			return errors.New("the entry of xstate.bin is not well-formed")
		}
	}
	return nil
}

// storeList checks the page stores by themselves.
func (v *validator) storeList() error {
	for _, s := range v.m.Stores {
		if !isStoreName(s.Name) {
			return fmt.Errorf("page store: %q is not a possible name", s.Name)
		}
		if _, ok := v.stores[s.Name]; ok {
			return fmt.Errorf("page store %s is there twice", s.Name)
		}
		if _, ok := v.stores[s.Base]; s.Base != "" && (!ok || !strings.HasPrefix(s.Base, "mm-") || !strings.HasPrefix(s.Name, "mm-")) {
			return fmt.Errorf("page store %s: %q can't be its base", s.Name, s.Base)
		}
		v.stores[s.Name] = false
		if s.Records < 0 || s.Records > maxRecords {
			return fmt.Errorf("page store %s: %d records are not possible", s.Name, s.Records)
		}
		index := Blob{}
		if s.Records > 0 {
			index = Blob{s.Name + mapSuffix, int64(s.Records) * recordSize, s.Map.SHA256}
		}
		if s.Map != index || (s.Records > 0 && !isSHA256(s.Map.SHA256)) {
			return fmt.Errorf("page store %s: the entry of its map is not well-formed", s.Name)
		}
		data := Blob{}
		if s.Data.Size > 0 {
			data = Blob{Name: s.Name + dataSuffix, Size: s.Data.Size}
		}
		if s.Data != data || s.Data.Size > int64(s.Records)*maxRecordPages*PageSize {
			return fmt.Errorf("page store %s: the entry of its page data is not well-formed", s.Name)
		}
	}
	return nil
}

// useStore takes a page store for an owner.
func (v *validator) useStore(name, prefix string) error {
	used, ok := v.stores[name]
	switch {
	case !ok || !strings.HasPrefix(name, prefix):
		return fmt.Errorf("there is no page store %q of that kind", name)
	case used:
		return fmt.Errorf("page store %s is used twice", name)
	}
	v.stores[name] = true
	return nil
}

// storeUse checks that no page store is left without an owner.
func (v *validator) storeUse() error {
	for _, s := range v.m.Stores {
		if !v.stores[s.Name] {
			return fmt.Errorf("page store %s belongs to nothing", s.Name)
		}
	}
	return nil
}

// files checks the table of files.
func (v *validator) files() error {
	for i, f := range v.m.Files {
		if f.ID != i {
			return fmt.Errorf("file %d has id %d", i, f.ID)
		}
		if err := checkPath(f.Path); err != nil {
			return fmt.Errorf("file %d: %w", i, err)
		}
		switch {
		case f.Size < 0:
			return fmt.Errorf("file %d (%s): size %d", i, f.Path, f.Size)
		case f.SHA256 != "" && !isSHA256(f.SHA256):
			return fmt.Errorf("file %d (%s): %q is not a SHA-256", i, f.Path, f.SHA256)
		case !f.Rule.valid():
			return fmt.Errorf("file %d (%s): there is no rule %q", i, f.Path, f.Rule)
		case f.Saved && f.SHA256 == "":
			return fmt.Errorf("file %d (%s) is saved without its SHA-256", i, f.Path)
		}
	}
	return nil
}

// shared checks the table of shared memory.
func (v *validator) shared() error {
	for i, s := range v.m.Shared {
		switch {
		case s.ID != i:
			return fmt.Errorf("shared memory %d has id %d", i, s.ID)
		case s.Kind != "memfd" && s.Kind != "anon" && s.Kind != "deleted" && s.Kind != "named" && s.Kind != KindSysV:
			return fmt.Errorf("shared memory %d: unknown kind %q", i, s.Kind)
		case s.Kind == "named" && s.Path == "":
			return fmt.Errorf("shared memory %d has no path", i)
		case s.Size > maxObject-PageSize:
			return fmt.Errorf("shared memory %d: size %v", i, s.Size)
		}
		if err := s.sysvShm(); err != nil {
			return fmt.Errorf("shared memory %d: %w", i, err)
		}
		if s.Path != "" {
			if err := checkPath(s.Path); err != nil {
				return fmt.Errorf("shared memory %d: %w", i, err)
			}
		}
		if err := v.useStore(s.Store, "shm-"); err != nil {
			return fmt.Errorf("shared memory %d: %w", i, err)
		}
	}
	return nil
}

// descriptions checks the table of open file descriptions.
func (v *validator) descriptions() error {
	type pipe struct {
		ino uint64
		dev Hex
	}
	pipes := map[pipe]bool{}
	for i, d := range v.m.Descriptions {
		if d.ID != i {
			return fmt.Errorf("description %d has id %d", i, d.ID)
		}
		if d.Detail == nil {
			return fmt.Errorf("description %d has no detail", i)
		}
		if o := d.Owner; o != nil && (o.Type < 0 || o.Type > 2 || o.Signal < 0 || o.Signal > maxSignal) {
			return fmt.Errorf("description %d: its owner is not possible", i)
		}
		if err := d.Detail.check(v); err != nil {
			return fmt.Errorf("description %d (%s): %w", i, d.Detail.Kind(), err)
		}
		if p, ok := d.Detail.(*Pipe); ok {
			id := pipe{p.Ino, p.Dev}
			if pipes[id] && len(p.Content) > 0 {
				return fmt.Errorf("description %d (%s): the content of pipe %d is there twice", i, KindPipe, p.Ino)
			}
			pipes[id] = true
		}
	}
	return nil
}

// strings checks all strings for zero bytes, which no kernel interface passes on.
func (v *validator) strings() error {
	var err error
	visitStrings(reflect.ValueOf(v.m), func(s string) {
		if strings.IndexByte(s, 0) >= 0 {
			err = fmt.Errorf("the string %q holds a zero byte", s)
		}
	})
	return err
}

// index checks a reference into a table of n elements.
func index(what string, i, n int) error {
	if i < 0 || i >= n {
		return fmt.Errorf("there is no %s %d", what, i)
	}
	return nil
}

// checkPath checks a path that is opened as it stands.
func checkPath(p string) error {
	if !path.IsAbs(p) || path.Clean(p) != p {
		return fmt.Errorf("%q is not a plain absolute path", p)
	}
	return nil
}

// checkSignal checks a signal number; zero means none where that is allowed.
func checkSignal(n int, none bool) error {
	if n < 0 || n > maxSignal || (n == 0 && !none) {
		return fmt.Errorf("there is no signal %d", n)
	}
	return nil
}

// notNegative checks counters and times.
func notNegative(what string, values ...int64) error {
	for _, n := range values {
		if n < 0 {
			return fmt.Errorf("%s is negative: %d", what, n)
		}
	}
	return nil
}

// savedFiles returns the SHA-256 of all files whose content is in the image.
func (m *Manifest) savedFiles() map[string]bool {
	out := map[string]bool{}
	for _, f := range m.Files {
		if f.Saved {
			out[f.SHA256] = true
		}
	}
	return out
}

// blobs returns the files of the image that the manifest describes.
func (m *Manifest) blobs() []Blob {
	out := []Blob{m.XState}
	for _, s := range m.Stores {
		out = append(out, s.Map, s.Data)
	}
	return out
}

// storeRanges returns where the records of a page store may lie: in the
// mappings of its process, or in its object. Ranges that touch are joined.
func (m *Manifest) storeRanges(name string) []Range {
	for _, s := range m.Shared {
		if s.Store == name {
			return []Range{{0, (s.Size + PageSize - 1) &^ (PageSize - 1)}}
		}
	}
	var out []Range
	for i := range m.Processes {
		p := &m.Processes[i]
		if p.MM.Store != name {
			continue
		}
		for _, a := range p.VMAs {
			if n := len(out); n > 0 && out[n-1].End == a.Start {
				out[n-1].End = a.End
			} else {
				out = append(out, Range{a.Start, a.End})
			}
		}
	}
	return out
}
