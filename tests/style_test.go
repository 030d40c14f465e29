package tests

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	module      = "github.com/crtrace/crtrace/"
	maxLines    = 500 // of a file
	maxFunction = 90  // lines of a function
)

// arrows: a package (or all below it) may import, of this module, only these.
// The first entry that matches counts.
var arrows = []struct {
	from string
	may  []string
}{
	{"regs", nil},
	{"parasite", []string{"regs"}},
	{"tracer", []string{"regs", "parasite", "tracer"}},
	{"snapshot/capture", []string{"regs", "parasite", "tracer", "snapshot"}},
	{"snapshot", []string{"regs", "snapshot"}},
	{"restore", []string{"regs", "parasite", "tracer", "snapshot", "restore"}},
	{"cmd/internal/coordinator", []string{"cmd/internal"}},
}

// pure are the packages that must run on any system: no system calls.
var pure = []string{"regs", "snapshot"}

var systemCalls = []string{"syscall", "golang.org/x/sys/unix", "os/exec", "unsafe"}

// goFile is a parsed source file; path is relative to the repository.
type goFile struct {
	path   string
	syntax *ast.File
	fset   *token.FileSet
	text   string
}

func (f goFile) pkg() string    { return filepath.Dir(f.path) }
func (f goFile) isTest() bool   { return strings.HasSuffix(f.path, "_test.go") }
func (f goFile) lines() int     { return strings.Count(f.text, "\n") }
func within(p, top string) bool { return p == top || strings.HasPrefix(p, top+"/") }

// sources parses every Go file of the repository.
func sources(t *testing.T) []goFile {
	t.Helper()
	var files []goFile
	root := ".."
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != root && strings.HasPrefix(d.Name(), ".") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		f := goFile{fset: token.NewFileSet(), text: string(text)}
		f.path, _ = filepath.Rel(root, path) // below root by construction
		f.syntax, err = parser.ParseFile(f.fset, path, text, parser.ParseComments)
		files = append(files, f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestPackageComments: every package says what it does.
func TestPackageComments(t *testing.T) {
	documented := map[string]bool{}
	for _, f := range sources(t) {
		doc := f.syntax.Doc
		documented[f.pkg()] = documented[f.pkg()] || doc != nil && len(strings.Fields(doc.Text())) >= 5
	}
	for pkg, ok := range documented {
		if !ok {
			t.Errorf("%s has no package comment", pkg)
		}
	}
}

// TestSize: files and functions that can be read in one go.
func TestSize(t *testing.T) {
	for _, f := range sources(t) {
		if n := f.lines(); n > maxLines {
			t.Errorf("%s has %d lines, at most %d", f.path, n, maxLines)
		}
		for _, d := range f.syntax.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if n := f.fset.Position(fn.End()).Line - f.fset.Position(fn.Pos()).Line + 1; n > maxFunction {
				t.Errorf("%s: %s has %d lines, at most %d", f.path, fn.Name.Name, n, maxFunction)
			}
		}
	}
}

// TestNoSleepInTests: a test waits for a condition, not for a while.
func TestNoSleepInTests(t *testing.T) {
	for _, f := range sources(t) {
		if !f.isTest() && !within(f.path, "tests") {
			continue
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok && s.Sel.Name == "Sleep" {
				if x, ok := s.X.(*ast.Ident); ok && x.Name == "time" {
					t.Errorf("%s sleeps", f.fset.Position(s.Pos()))
				}
			}
			return true
		})
	}
}

// TestImports keeps the layers apart.
func TestImports(t *testing.T) {
	for _, f := range sources(t) {
		if f.isTest() {
			continue
		}
		for _, spec := range f.syntax.Imports {
			path := strings.Trim(spec.Path.Value, `"`)
			if problem := forbiddenImport(f.pkg(), path); problem != "" {
				t.Errorf("%s imports %s: %s", f.path, path, problem)
			}
		}
	}
}

// forbiddenImport says why pkg must not import path; "" if it may.
func forbiddenImport(pkg, path string) string {
	if path == "C" {
		return "crtrace is built without cgo"
	}
	own, isOwn := strings.CutPrefix(path, module)
	if !isOwn {
		for _, p := range pure {
			if within(pkg, p) && !within(pkg, "snapshot/capture") {
				for _, s := range systemCalls {
					if path == s {
						return p + " makes no system calls"
					}
				}
			}
		}
		return ""
	}
	if !within(pkg, "cmd") && within(own, "cmd") {
		return "nothing but cmd imports cmd"
	}
	if within(own, "tests") && !within(pkg, "tests") {
		return "tests are for tests"
	}
	for _, a := range arrows {
		if !within(pkg, a.from) {
			continue
		}
		for _, may := range a.may {
			if within(own, may) && (own != "snapshot/capture" || a.from == "snapshot/capture") {
				return ""
			}
		}
		return a.from + " must not depend on it"
	}
	return ""
}

// TestForbiddenImport proves that the rules forbid something.
func TestForbiddenImport(t *testing.T) {
	for _, c := range []struct {
		pkg, path string
		ok        bool
	}{
		{"regs", module + "tracer", false},
		{"snapshot", module + "regs", true},
		{"snapshot", module + "tracer", false},
		{"snapshot", module + "snapshot/capture", false},
		{"snapshot", "golang.org/x/sys/unix", false},
		{"snapshot/capture", "golang.org/x/sys/unix", true},
		{"snapshot/capture", module + "restore", false},
		{"restore", module + "snapshot/capture", false},
		{"restore", module + "tracer/procfs", true},
		{"tracer/procfs", module + "snapshot", false},
		{"cmd/crtrace", module + "restore", true},
		{"tracer", module + "cmd/internal/cli", false},
		{"restore", "C", false},
	} {
		if got := forbiddenImport(c.pkg, c.path) == ""; got != c.ok {
			t.Errorf("%s importing %s: allowed %v, want %v", c.pkg, c.path, got, c.ok)
		}
	}
}

// TestVictimHeaders: every victim says in its first line what it is about.
func TestVictimHeaders(t *testing.T) {
	files, err := filepath.Glob("victims/*.c")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(text), "// test: ") {
			t.Errorf("%s does not begin with a \"// test:\" line", path)
		}
	}
}
