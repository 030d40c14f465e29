package tests

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
)

// damagedCopy copies an image and lets change work on one file of it.
func damagedCopy(t *testing.T, image, file string, change func([]byte) []byte) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "image")
	if err := os.CopyFS(dir, os.DirFS(image)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, file)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, change(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// imageFiles lists the files of an image.
func imageFiles(t *testing.T, image string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(image, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			rel, _ := filepath.Rel(image, path) // below image by construction
			files = append(files, rel)
		}
		return err
	})
	if err != nil || len(files) == 0 {
		t.Fatalf("image %s: %d files, %v", image, len(files), err)
	}
	return files
}

// TestDamagedImage damages every file of an image in every way: verify and
// restore refuse it, name the file, and nothing runs afterwards. The program's
// own file is gone, so that every part of the image is needed.
func TestDamagedImage(t *testing.T) {
	text, err := os.ReadFile(build(t, victim(t, "counter")))
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(binary, text, 0o700); err != nil {
		t.Fatal(err)
	}
	p := start(t, victim(t, "counter"), startOptions{append: true, binary: binary})
	image := p.checkpoint("image")
	p.kill()
	if err := os.Remove(binary); err != nil {
		t.Fatal(err)
	}
	before := p.lines()
	damages := map[string]func([]byte) []byte{
		"truncated": func(b []byte) []byte { return b[:len(b)-1] },
		"emptied":   func(b []byte) []byte { return nil },
		"longer":    func(b []byte) []byte { return append(b, 'x') },
		"flipped":   func(b []byte) []byte { b[len(b)/2] ^= 0x10; return b },
	}
	for _, file := range imageFiles(t, image) {
		for name, change := range damages {
			t.Run(file+" "+name, func(t *testing.T) {
				damaged := damagedCopy(t, image, file, change)
				status, _, stderr := run(t, "verify", damaged)
				refused(t, status, stderr, []int{4}, filepath.Base(file))
				t.Cleanup(p.killStray)
				status, _, stderr = run(t, "restore", "--pids=host", damaged)
				refused(t, status, stderr, []int{4}, filepath.Base(file))
			})
		}
	}
	eventually(t, "nothing runs", func() bool { return !alive(p.pid) })
	if len(p.lines()) != len(before) {
		t.Error("a damaged image was restored")
	}
	p.restore(image)
	p.finish()
}

// killStray ends the program if it runs although it must not.
func (p *program) killStray() {
	if p.owned() {
		p.t.Errorf("process %d runs", p.pid)
		_ = syscall.Kill(p.pid, syscall.SIGKILL) // may be gone
	}
}

// TestImageVersion: an image of a version to come is refused as such.
func TestImageVersion(t *testing.T) {
	p := start(t, victim(t, "counter"), startOptions{append: true})
	image := p.checkpoint("image")
	var manifest []byte
	newer := damagedCopy(t, image, "manifest.json", func(b []byte) []byte {
		manifest = regexp.MustCompile(`"major": *1\b`).ReplaceAll(b, []byte(`"major": 9`))
		return manifest
	})
	sum := fmt.Sprintf("%x", sha256.Sum256(manifest))
	newer = damagedCopy(t, newer, "manifest.sha256", func(b []byte) []byte {
		return regexp.MustCompile(`^[0-9a-f]{64}`).ReplaceAll(b, []byte(sum))
	})
	status, _, stderr := run(t, "restore", newer)
	refused(t, status, stderr, []int{4}, "format", "9")
	p.unharmed()
}

// TestNoImage: what is no image at all.
func TestNoImage(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "empty"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"empty", "missing"} {
		for _, command := range []string{"restore", "verify", "inspect"} {
			t.Run(command+" "+name, func(t *testing.T) {
				status, _, stderr := run(t, command, filepath.Join(dir, name))
				refused(t, status, stderr, []int{1, 4}, name)
			})
		}
	}
}

// TestProgramChanged: a program file that was replaced since the checkpoint is
// noticed. Restore says so, or goes on from a copy in the image; it never runs
// the old memory on new code.
func TestProgramChanged(t *testing.T) {
	text, err := os.ReadFile(build(t, victim(t, "counter")))
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.Replace(text, []byte("step %ld"), []byte("STEP %ld"), 1)
	if bytes.Equal(changed, text) {
		t.Fatal("the program has no text to change")
	}
	for name, content := range map[string][]byte{"replaced": changed, "gone": nil} {
		t.Run(name, func(t *testing.T) {
			binary := filepath.Join(t.TempDir(), "program")
			if err := os.WriteFile(binary, text, 0o700); err != nil {
				t.Fatal(err)
			}
			p := start(t, victim(t, "counter"), startOptions{append: true, binary: binary})
			image := p.checkpoint("image", "--kill")
			p.awaitKilled()
			if err := os.Remove(binary); err != nil {
				t.Fatal(err)
			}
			if content != nil {
				if err := os.WriteFile(binary, content, 0o700); err != nil {
					t.Fatal(err)
				}
			}
			p.refusedOrRight(image, binary)
		})
	}
}

// refusedOrRight restores an image: a refusal that mentions what is wrong is as
// good as a program that goes on and passes.
func (p *program) refusedOrRight(image, mention string) {
	p.t.Helper()
	reached := p.lastStep()
	p.restoreOnly(image, "--pids=host")
	ended := false
	eventually(p.t, "restore ends or the program goes on", func() bool {
		select {
		case <-p.parent.ended:
			ended = true
		default:
		}
		return ended || p.lastStep() > reached
	})
	if !ended {
		p.t.Log("restored from a copy")
		p.finish()
		return
	}
	refused(p.t, p.parent.status(p.t), p.parent.stderr.String(), []int{1, 3}, mention)
	if p.owned() {
		p.t.Error("the program runs")
	}
}
