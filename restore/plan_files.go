package restore

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"github.com/crtrace/crtrace/snapshot"
	"github.com/crtrace/crtrace/tracer/procfs"
	"golang.org/x/sys/unix"
)

// findFiles decides for every file of the image where its content comes from.
func (p *Plan) findFiles() error {
	uses := p.fileUses()
	p.sources = make([]source, len(p.manifest.Files))
	for i := range p.manifest.Files {
		if err := p.findFile(i, uses[i]); err != nil {
			return err
		}
	}
	return nil
}

// use tells what the program does with a file.
type use struct {
	mapped  bool // its content is in the address space
	reads   bool // open for reading only
	written bool // open for writing, or a shared mapping that can be written
	memory  bool // a shared mapping that can be written
}

// fileUses finds out what the program does with each file.
func (p *Plan) fileUses() []use {
	uses := make([]use, len(p.manifest.Files))
	for i := range p.manifest.Processes {
		proc := &p.manifest.Processes[i]
		uses[proc.Exe].mapped = true
		for _, v := range proc.VMAs {
			if v.Kind != snapshot.VMAFile {
				continue
			}
			if v.Write {
				uses[v.Object].written, uses[v.Object].memory = true, true
			} else {
				uses[v.Object].mapped = true
			}
		}
	}
	for _, d := range p.manifest.Descriptions {
		if r, ok := d.Detail.(*snapshot.Regular); ok {
			if d.Flags&unix.O_ACCMODE == unix.O_RDONLY {
				uses[r.File].reads = true
			} else {
				uses[r.File].written = true
			}
		}
	}
	return uses
}

// ruleOf returns the rule that counts for a file.
func (p *Plan) ruleOf(f *snapshot.File) snapshot.FileRule {
	rule := cmp.Or(p.o.Files.For(f.Path), f.Rule)
	switch {
	case rule != "":
		return rule
	case f.Saved:
		return snapshot.RuleSave
	}
	return snapshot.RuleTrack
}

// findFile decides for one file.
func (p *Plan) findFile(id int, u use) error {
	f := &p.manifest.Files[id]
	if f.Deleted {
		if !f.Saved {
			p.refuse("%s had been deleted, and its content is not in the image", f.Path)
		}
		p.sources[id] = source{saved: f.SHA256}
		return nil
	}
	st, err := os.Stat(f.Path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("look at %s: %w", f.Path, err)
	}
	if u.written {
		return p.findWritten(id, u, st, err)
	}
	same := err == nil && p.ruleOf(f) == snapshot.RuleIgnore
	if err == nil && !same {
		if same, err = sameContent(f, st); err != nil {
			return err
		}
	}
	if same {
		p.sources[id] = source{path: f.Path}
		return nil
	}
	p.findCopy(id, u, st != nil)
	return nil
}

// findCopy decides for a file that the program reads and that is not what it was.
func (p *Plan) findCopy(id int, u use, there bool) {
	f := &p.manifest.Files[id]
	what := "is gone"
	if there {
		what = "has changed since the checkpoint"
	}
	switch {
	case f.Saved:
		p.sources[id] = source{saved: f.SHA256}
		p.warn("%s %s; its copy in the image is used", f.Path, what)
	case u.mapped:
		p.refuse("%s %s, and the program has it in its memory", f.Path, what)
	default:
		p.refuse("%s %s, and the program is reading it", f.Path, what)
	}
}

// findWritten decides for a file that the program writes.
func (p *Plan) findWritten(id int, u use, st fs.FileInfo, err error) error {
	f := &p.manifest.Files[id]
	rule := p.ruleOf(f)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look at %s: %w", f.Path, err)
	}
	p.sources[id] = source{path: f.Path, create: st == nil, append: rule == snapshot.RuleAppend}
	switch {
	case rule == snapshot.RuleSave:
		return p.findSaved(id, u, st)
	case st == nil && (rule == snapshot.RuleTrack || u.memory):
		p.refuse("%s, which the program was writing, is gone", f.Path)
	case rule != snapshot.RuleTrack:
	case st.Size() < f.Size:
		p.refuse("%s, which the program was writing, has %d bytes now and had %d", f.Path, st.Size(), f.Size)
	case st.Size() > f.Size:
		p.rollback = append(p.rollback, rollback{file: id, from: st.Size(), to: f.Size})
	}
	return nil
}

// findSaved decides for a file that the program writes and that is in the image. st
// is nil when it is gone.
func (p *Plan) findSaved(id int, u use, st fs.FileInfo) error {
	f := &p.manifest.Files[id]
	if !f.Saved {
		p.refuse("the content of %s is not in the image; give the rule to 'crtrace checkpoint'", f.Path)
		return nil
	}
	r := rollback{file: id, to: f.Size, content: true}
	if st != nil {
		if same, err := sameHash(f, st); err != nil || same {
			return err
		}
		if pid := sharer(f.Path); u.memory && pid != 0 {
			p.refuse("%s was written through a mapping and would be put back to what it was, but process %d has it mapped too; "+
				"end that first, or leave the file as it is by --files %s=%s", f.Path, pid, f.Path, snapshot.RuleIgnore)
		}
		r.from = st.Size()
	}
	p.rollback = append(p.rollback, r)
	return nil
}

// sharer returns a process that has a file mapped and shared, 0 when there is none that
// we may look at.
func sharer(path string) int {
	pids, err := procfs.Processes()
	if err != nil {
		return 0
	}
	for _, pid := range pids {
		maps, err := procfs.ReadMaps(pid)
		if err == nil && slices.ContainsFunc(maps, func(m procfs.Mapping) bool { return m.Shared && m.Path == path && !m.Deleted }) {
			return pid
		}
	}
	return 0
}

// sameContent tells whether a file on disk is still what it was: same size and
// time of modification, else same content.
func sameContent(f *snapshot.File, st fs.FileInfo) (bool, error) {
	if st.Size() == f.Size && st.Mode().IsRegular() && st.ModTime().UnixNano() == f.MTime {
		return true, nil
	}
	return sameHash(f, st)
}

// sameHash tells whether a file on disk has the content that it had. The time of
// modification proves nothing for a file that is written through a mapping.
func sameHash(f *snapshot.File, st fs.FileInfo) (bool, error) {
	if f.SHA256 == "" || st.Size() != f.Size || !st.Mode().IsRegular() {
		return false, nil
	}
	in, err := os.Open(f.Path)
	if err != nil {
		return false, nil // it can't be used anyway
	}
	defer in.Close()
	h := sha256.New()
	if _, err := io.Copy(h, in); err != nil {
		return false, fmt.Errorf("read %s: %w", f.Path, err)
	}
	return hex.EncodeToString(h.Sum(nil)) == f.SHA256, nil
}
