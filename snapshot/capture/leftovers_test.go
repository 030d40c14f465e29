package capture

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestRemoveLeftovers: only old directories of images in the making go, and only
// when nobody writes them.
func TestRemoveLeftovers(t *testing.T) {
	folder := t.TempDir()
	const digits = "0123456789abcdef"
	old := time.Now().Add(-2 * partAge)
	for _, name := range []string{
		".dead." + digits + ".part", ".written." + digits + ".part", ".fresh." + digits + ".part",
		".x.0123.part", "image", ".other", "." + digits + ".part",
	} {
		dir := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Join(dir, "files"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "mm-1.pages"), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"files", "mm-1.pages", "."} {
			if name == ".fresh."+digits+".part" && path == "mm-1.pages" {
				continue // it is being written, on another host
			}
			if err := os.Chtimes(filepath.Join(dir, path), old, old); err != nil {
				t.Fatal(err)
			}
		}
	}
	outside := t.TempDir()
	if err := os.Symlink(outside, filepath.Join(folder, ".link."+digits+".part")); err != nil {
		t.Fatal(err)
	}
	release := guard(filepath.Join(folder, ".written."+digits+".part"))
	removeLeftovers(folder, slog.New(slog.DiscardHandler))
	names := func() []string {
		entries, err := os.ReadDir(folder)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, e := range entries {
			out = append(out, e.Name())
		}
		return out
	}
	want := []string{"." + digits + ".part", ".fresh." + digits + ".part", ".link." + digits + ".part", ".other",
		".written." + digits + ".part", ".x.0123.part", "image"}
	if diff := cmp.Diff(want, names()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	release()
	removeLeftovers(folder, slog.New(slog.DiscardHandler))
	if got := names(); len(got) != len(want)-1 {
		t.Errorf("after its writer has ended: %v", got)
	}
}
