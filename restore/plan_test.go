package restore

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/crtrace/crtrace/snapshot"
)

// world is a directory with the files of a program, and the manifest of an image
// that was taken of it.
type world struct {
	t        *testing.T
	dir      string
	manifest *snapshot.Manifest
	options  Options
	change   func() // between the checkpoint and the restore
	saved    map[string][]byte
}

// Files of the world by their ids.
const (
	fileExe = iota
	fileRead
	fileWritten
	fileMapped
)

var contents = []string{"the program", "input", "output line\n", "shared pages"}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), saved: map[string][]byte{}, change: func() {}}
	m := &snapshot.Manifest{
		Created: time.Date(2025, 1, 2, 3, 4, 5, 6, time.UTC), Tool: "test",
		Host: snapshot.Host{Name: "node", Kernel: "6", Arch: "amd64", PageSize: os.Getpagesize()},
		Root: freeID(t),
	}
	for i, name := range []string{"app", "input", "output", "mapped"} {
		path := filepath.Join(w.dir, name)
		if err := os.WriteFile(path, []byte(contents[i]), 0o700); err != nil {
			t.Fatal(err)
		}
		st, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		m.Files = append(m.Files, snapshot.File{ID: i, Path: path, Mode: 0o100700, Size: st.Size(), MTime: st.ModTime().UnixNano(), SHA256: sum(contents[i])})
	}
	m.Files[fileWritten].SHA256 = ""
	regular := func(id int, flags snapshot.Hex) snapshot.Description {
		return snapshot.Description{ID: id, Flags: flags, Detail: &snapshot.Regular{File: id + 1}}
	}
	m.Descriptions = []snapshot.Description{regular(0, unix.O_RDONLY), regular(1, unix.O_WRONLY|unix.O_APPEND)}
	uid, gid := os.Geteuid(), os.Getegid()
	m.Processes = []snapshot.Process{{
		PID: m.Root, PGID: m.Root, SID: m.Root, Exe: fileExe, Cwd: w.dir,
		Credentials: snapshot.Credentials{UIDs: [4]int{uid, uid, uid, uid}, GIDs: [4]int{gid, gid, gid, gid}},
		MM:          snapshot.MM{Store: "mm-1"},
		VMAs:        []snapshot.VMA{{Start: 0x10000, End: 0x11000, Prot: "r--", Kind: snapshot.VMAFile, Object: fileMapped}},
		FDs:         []snapshot.FD{{Num: 0, Description: 0}, {Num: 1, Description: 1}},
		Threads:     []snapshot.Thread{{TID: m.Root, Comm: "app"}},
	}}
	w.manifest, w.options = m, Options{PIDs: PIDHost}
	return w
}

func sum(text string) string { s := sha256.Sum256([]byte(text)); return hex.EncodeToString(s[:]) }

// freeID returns an id that no process has, far from the cursor.
func freeID(t *testing.T) int {
	t.Helper()
	b, err := newBurner()
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	at, err := b.last.LastPID()
	if err != nil {
		t.Fatal(err)
	}
	for id := reservedPIDs + (at+b.max/2)%(b.max-2*reservedPIDs); ; id++ {
		if !b.taken(id) {
			return id
		}
	}
}

// save puts a copy of a file into the image.
func (w *world) save(id int) { w.saved[contents[id]] = nil; w.manifest.Files[id].Saved = true }

// image writes the image and opens it.
func (w *world) image() *snapshot.Image {
	w.t.Helper()
	ok := func(err error) {
		if err != nil {
			w.t.Helper()
			w.t.Fatal(err)
		}
	}
	dir := filepath.Join(w.dir, "image")
	out, err := snapshot.Create(dir)
	ok(err)
	s, err := out.Store("mm-1")
	ok(err)
	entry, err := s.Close()
	ok(err)
	w.manifest.Stores = []snapshot.Store{entry}
	for p := range w.manifest.Processes {
		for i := range w.manifest.Processes[p].Threads {
			th := &w.manifest.Processes[p].Threads[i]
			th.XState, err = out.AddXState(make([]byte, 576))
			ok(err)
		}
	}
	for text := range w.saved {
		_, _, err := out.SaveFile(strings.NewReader(text))
		ok(err)
	}
	_, err = out.Commit(w.manifest)
	ok(err)
	ok(out.Abort())
	im, err := snapshot.Open(dir)
	ok(err)
	w.t.Cleanup(func() { im.Close() })
	return im
}

// rewrite changes a file so that size and content are new ones and its time too.
func (w *world) rewrite(id int, text string) {
	path := w.manifest.Files[id].Path
	later := time.Unix(1<<30, 0)
	if err := errors.Join(os.WriteFile(path, []byte(text), 0o700), os.Chtimes(path, later, later)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) remove(id int) {
	if err := os.Remove(w.manifest.Files[id].Path); err != nil {
		w.t.Fatal(err)
	}
}

// told is what a plan says, with the names that change from run to run replaced.
func (w *world) told(text string) []string {
	text = strings.NewReplacer(w.dir, "DIR", fmt.Sprint(w.manifest.Root), "PID").Replace(text)
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}

const planHead = "restore 1 process(es) with ids from: "

const planProcess = "process PID: DIR/app, 1 thread(s), 1 memory areas, 2 descriptors"

func TestMakePlan(t *testing.T) {
	for _, c := range []struct {
		name  string
		setUp func(w *world)
		want  []string // after the head and the process
	}{
		{"nothing has changed", func(*world) {}, nil},
		{"touched, same content", func(w *world) { w.change = func() { w.rewrite(fileRead, contents[fileRead]) } }, nil},
		{"output has grown", func(w *world) { w.change = func() { w.rewrite(fileWritten, contents[fileWritten]+"more\n") } },
			[]string{"file DIR/output: cut from 17 to 12 bytes; the tail is kept in DIR/image.tails"}},
		{"output was overwritten in place", func(w *world) { w.change = func() { w.rewrite(fileWritten, "OUTPUT LINE\n") } }, nil},
		{"saved output has grown", func(w *world) {
			w.manifest.Files[fileWritten].SHA256 = sum(contents[fileWritten])
			w.save(fileWritten)
			w.change = func() { w.rewrite(fileWritten, contents[fileWritten]+"more\n") }
		}, []string{"file DIR/output: its content is put back; the present one is kept in DIR/image.tails"}},
		{"saved output is gone", func(w *world) {
			w.manifest.Files[fileWritten].SHA256 = sum(contents[fileWritten])
			w.save(fileWritten)
			w.change = func() { w.remove(fileWritten) }
		}, []string{"file DIR/output: its content is put back; the present one is kept in DIR/image.tails"}},
		{"saved output is the same", func(w *world) {
			w.manifest.Files[fileWritten].SHA256 = sum(contents[fileWritten])
			w.save(fileWritten)
		}, nil},
		{"saved input has changed", func(w *world) {
			w.save(fileRead)
			w.change = func() { w.rewrite(fileRead, "other") }
		}, []string{"file DIR/input: from the copy in the image",
			"warning: DIR/input has changed since the checkpoint; its copy in the image is used"}},
		{"saved program is gone", func(w *world) {
			w.save(fileExe)
			w.change = func() { w.remove(fileExe) }
		}, []string{"file DIR/app: from the copy in the image", "warning: DIR/app is gone; its copy in the image is used"}},
		{"deleted file", func(w *world) {
			w.save(fileRead)
			w.manifest.Files[fileRead].Deleted = true
		}, []string{"file DIR/input: from the copy in the image"}},
		{"tails elsewhere", func(w *world) {
			w.options.TailDir = filepath.Join(w.dir, "tails")
			w.change = func() { w.rewrite(fileWritten, contents[fileWritten]+"more\n") }
		}, []string{"file DIR/output: cut from 17 to 12 bytes; the tail is kept in DIR/tails"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			c.setUp(w)
			im := w.image()
			w.change()
			p, err := MakePlan(im, w.options)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(append([]string{planHead + "host", planProcess}, c.want...), w.told(p.String())); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMakePlanRefuses(t *testing.T) {
	uid := os.Geteuid()
	first := func(w *world) *snapshot.Process { return &w.manifest.Processes[0] }
	for _, c := range []struct {
		name  string
		setUp func(w *world)
		want  []string
	}{
		{"input has changed", func(w *world) { w.change = func() { w.rewrite(fileRead, "other") } },
			[]string{"DIR/input has changed since the checkpoint, and the program is reading it"}},
		{"input is gone", func(w *world) { w.change = func() { w.remove(fileRead) } },
			[]string{"DIR/input is gone, and the program is reading it"}},
		{"mapped file has changed", func(w *world) { w.change = func() { w.rewrite(fileMapped, "Shared pages") } },
			[]string{"DIR/mapped has changed since the checkpoint, and the program has it in its memory"}},
		{"program is gone", func(w *world) { w.change = func() { w.remove(fileExe) } },
			[]string{"DIR/app is gone, and the program has it in its memory"}},
		{"output is gone", func(w *world) { w.change = func() { w.remove(fileWritten) } },
			[]string{"DIR/output, which the program was writing, is gone"}},
		{"output has shrunk", func(w *world) { w.change = func() { w.rewrite(fileWritten, "out") } },
			[]string{"DIR/output, which the program was writing, has 3 bytes now and had 12"}},
		{"deleted and not saved", func(w *world) { w.manifest.Files[fileRead].Deleted = true },
			[]string{"DIR/input had been deleted, and its content is not in the image"}},
		{"another user", func(w *world) { first(w).Credentials.UIDs = [4]int{4711, 4711, 4711, 4711} },
			[]string{fmt.Sprintf("process PID belongs to user 4711, you are user %d", uid)}},
		{"another group", func(w *world) { first(w).Credentials.GIDs[1] = 4711 },
			[]string{fmt.Sprintf("process PID has group %d, you have %[1]d", os.Getegid())}},
		{"working directory", func(w *world) { first(w).Cwd = filepath.Join(w.dir, "none") },
			[]string{"process PID: its working directory DIR/none is not there; make it, or name another by --cwd or --remap"}},
		{"working directory is a file", func(w *world) { first(w).Cwd = filepath.Join(w.dir, "app") },
			[]string{"process PID: its working directory DIR/app is not there; make it, or name another by --cwd or --remap"}},
		{"other pages", func(w *world) { w.manifest.Host.PageSize = 65536 }, nil},
		{"several at once", func(w *world) {
			first(w).Cwd = filepath.Join(w.dir, "none")
			w.change = func() { w.remove(fileRead); w.remove(fileWritten) }
		}, []string{"process PID: its working directory DIR/none is not there; make it, or name another by --cwd or --remap",
			"DIR/input is gone, and the program is reading it", "DIR/output, which the program was writing, is gone"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			c.setUp(w)
			if c.want == nil {
				c.want = []string{fmt.Sprintf("the image has pages of 65536 bytes, this machine of %d", os.Getpagesize())}
			}
			im := w.openRefusing(t)
			if im == nil {
				return // the reader has refused it
			}
			w.change()
			_, err := MakePlan(im, w.options)
			var refused *RefusedError
			if !errors.As(err, &refused) {
				t.Fatalf("%v, want a refusal", err)
			}
			if diff := cmp.Diff(c.want, w.told(strings.Join(refused.Problems, "\n"))); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

// openRefusing is image for manifests that the reader itself may refuse.
func (w *world) openRefusing(t *testing.T) *snapshot.Image {
	if w.manifest.Host.PageSize != os.Getpagesize() {
		im := w.withPages(t)
		return im
	}
	return w.image()
}

// withPages opens a good image and changes what it says of the machine.
func (w *world) withPages(*testing.T) *snapshot.Image {
	size := w.manifest.Host.PageSize
	w.manifest.Host.PageSize = os.Getpagesize()
	im := w.image()
	im.Manifest.Host.PageSize = size
	return im
}

// TestDescriptorLimit: a descriptor beyond the hard limit is refused.
func TestDescriptorLimit(t *testing.T) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Max > 1<<30 {
		t.Skip("descriptors are not limited")
	}
	w := newWorld(t)
	proc := &w.manifest.Processes[0]
	proc.FDs = append(proc.FDs, snapshot.FD{Num: int(limit.Max), Description: 0})
	_, err := MakePlan(w.image(), w.options)
	want := fmt.Sprintf("can't be restored: process PID has descriptor %d, beyond the limit here (ulimit -Hn %[1]d)", limit.Max)
	if err == nil || w.told(err.Error())[0] != want {
		t.Errorf("%v, want %s", err, want)
	}
	proc.FDs[len(proc.FDs)-1].Num--
	w.dir = t.TempDir()
	if _, err := MakePlan(w.image(), w.options); err != nil {
		t.Errorf("the highest descriptor: %v", err)
	}
}

// TestTakenIDs: an id that a process has, or a process group is called by, makes
// the plan go to a namespace, or is refused.
func TestTakenIDs(t *testing.T) {
	child, err := os.StartProcess("/bin/sh", []string{"sh", "-c", "read x"}, &os.ProcAttr{
		Sys: &syscall.SysProcAttr{Setpgid: true}, Files: []*os.File{pipeEnd(t)},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer child.Wait()
	defer child.Kill()
	for _, mode := range []PIDMode{PIDHost, PIDAuto, PIDNamespace, PIDAny} {
		w := newWorld(t)
		w.options.PIDs = mode
		w.manifest.Root = child.Pid
		proc := &w.manifest.Processes[0]
		proc.PID, proc.Threads[0].TID = child.Pid, child.Pid
		p, err := MakePlan(w.image(), w.options)
		if mode == PIDHost {
			var refused *RefusedError
			if !errors.As(err, &refused) || !strings.Contains(err.Error(), fmt.Sprint(child.Pid)) {
				t.Errorf("host: %v", err)
			}
			continue
		}
		want := mode
		if mode == PIDAuto {
			want = PIDNamespace
		}
		if err != nil || p.Mode() != want {
			t.Errorf("%s: %v, %v; want %s", mode, p, err, want)
		}
	}
}

// pipeEnd returns an input that does not end before the test.
func pipeEnd(t *testing.T) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return r
}

// TestClocksWentBack: where CLOCK_MONOTONIC is behind, the way leads to a time
// namespace.
func TestClocksWentBack(t *testing.T) {
	if !CanUseNamespaces() {
		t.Skip("no user namespaces here")
	}
	w := newWorld(t)
	w.options.PIDs = PIDAuto
	w.manifest.Host.Clocks.Monotonic = 1 << 61
	p, err := MakePlan(w.image(), w.options)
	if err != nil || p.Mode() != PIDNamespace {
		t.Errorf("%v, %v; want a namespace", p, err)
	}
}

func TestSameContent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte("abc"), 0o600); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.Stat(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	mtime := st.ModTime().UnixNano()
	for _, c := range []struct {
		name       string
		file       snapshot.File
		st         os.FileInfo
		same, hash bool
	}{
		{"size and time", snapshot.File{Size: 3, MTime: mtime}, st, true, false},
		{"size and hash", snapshot.File{Size: 3, MTime: 1, SHA256: sum("abc")}, st, true, true},
		{"other hash, same time", snapshot.File{Size: 3, MTime: mtime, SHA256: sum("abd")}, st, true, false},
		{"other hash", snapshot.File{Size: 3, MTime: 1, SHA256: sum("abd")}, st, false, false},
		{"other size", snapshot.File{Size: 4, MTime: mtime, SHA256: sum("abc")}, st, false, false},
		{"other time, no hash", snapshot.File{Size: 3, MTime: 1}, st, false, false},
		{"a directory", snapshot.File{Size: dir.Size(), MTime: dir.ModTime().UnixNano(), SHA256: sum("")}, dir, false, false},
	} {
		c.file.Path = path
		same, err := sameContent(&c.file, c.st)
		hash, err2 := sameHash(&c.file, c.st)
		if err := errors.Join(err, err2); err != nil || same != c.same || hash != c.hash {
			t.Errorf("%s: same content %v, same hash %v, %v; want %v, %v", c.name, same, hash, err, c.same, c.hash)
		}
	}
}
