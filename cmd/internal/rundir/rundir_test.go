package rundir

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPrepareMakesAPrivateDirectory(t *testing.T) {
	base := t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", base)
	dir, err := Prepare("")
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(base, "crtrace"); dir != want {
		t.Errorf("directory %s, want %s", dir, want)
	}
	if again, err := Prepare(""); err != nil || again != dir {
		t.Errorf("second time: %s, %v", again, err)
	}
	if err := Verify(dir, os.Geteuid()); err != nil {
		t.Error(err)
	}
}

func TestPrepareRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		plant func(t *testing.T, dir string)
		want  string
	}{
		"planted link": {func(t *testing.T, dir string) {
			target := t.TempDir()
			if err := os.Chmod(target, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(target, dir); err != nil {
				t.Fatal(err)
			}
		}, "symbolic link"},
		"open to the group": {func(t *testing.T, dir string) { mkdir(t, dir, 0o770) }, "mode 0770"},
		"open to all":       {func(t *testing.T, dir string) { mkdir(t, dir, 0o701) }, "mode 0701"},
		"a file": {func(t *testing.T, dir string) {
			if err := os.WriteFile(dir, nil, 0o700); err != nil {
				t.Fatal(err)
			}
		}, "not a directory"},
		"other owner": {func(t *testing.T, dir string) {
			mkdir(t, dir, 0o700)
			if err := os.Chown(dir, os.Geteuid()+12345, -1); err != nil {
				t.Skip("needs root to give a directory away:", err)
			}
		}, "belongs to user"},
	} {
		t.Run(name, func(t *testing.T) {
			base := t.TempDir()
			t.Setenv("XDG_RUNTIME_DIR", base)
			tc.plant(t, filepath.Join(base, "crtrace"))
			_, err := Prepare("")
			if _, ok := errors.AsType[*UnsafeError](err); !ok || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want an UnsafeError with %q", err, tc.want)
			}
		})
	}
}

func mkdir(t *testing.T, dir string, mode os.FileMode) {
	t.Helper()
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, mode); err != nil {
		t.Fatal(err)
	}
}

func TestCandidates(t *testing.T) {
	own := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(own, link); err != nil {
		t.Fatal(err)
	}
	uid := os.Geteuid()
	for name, tc := range map[string]struct {
		xdg  string
		uid  int
		want int // number of candidates
	}{
		"own directory":     {own, uid, 2},
		"relative":          {"run", uid, 1},
		"unset":             {"", uid, 1},
		"missing":           {filepath.Join(own, "no"), uid, 1},
		"a link":            {link, uid, 1},
		"of somebody else":  {own, uid + 1, 1},
		"long for a socket": {"/" + strings.Repeat("x", 100), uid, 1},
	} {
		t.Setenv("XDG_RUNTIME_DIR", tc.xdg)
		if got := Candidates("", tc.uid); len(got) != tc.want {
			t.Errorf("%s: candidates %q, want %d of them", name, got, tc.want)
		}
	}
	if got := Candidates("/forced", uid); len(got) != 1 || got[0] != "/forced" {
		t.Errorf("forced: %q", got)
	}
	if _, err := Prepare("/" + strings.Repeat("x", 100)); err == nil {
		t.Error("a directory too long for a socket was accepted")
	}
	if _, err := Prepare("relative"); err == nil {
		t.Error("a relative directory was accepted")
	}
}

func TestPrograms(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"12.sock", "x.sock", "-4.sock", "13", "14.sock.tmp"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := Programs(dir); len(got) != 1 || got[0] != 12 {
		t.Errorf("programs %v, want [12]", got)
	}
}
