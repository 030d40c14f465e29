package capture

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/crtrace/crtrace/snapshot"
	"github.com/crtrace/crtrace/tracer/procfs"
	"golang.org/x/sys/unix"
)

// takeInotify collects an inotify instance. The kernel tells only the inode of a
// watch; opening it by handle takes a privilege, so its name is searched where
// the program is known to look.
func takeInotify(t *target, v *view) (snapshot.Detail, error) {
	in := &snapshot.Inotify{Watches: []snapshot.Watch{}}
	for _, w := range v.info.Inotify {
		path := t.findInode(fileKey{w.Dev, w.Ino})
		if path == "" {
			t.refuse(v.object(), fmt.Sprintf("the name of watched inode %d could not be found", w.Ino),
				"start the program in or near the directory that it watches")
			return nil, nil
		}
		in.Watches = append(in.Watches, snapshot.Watch{WD: w.WD, Path: path, Mask: snapshot.Hex(w.Mask)})
	}
	slices.SortFunc(in.Watches, func(a, b snapshot.Watch) int { return a.WD - b.WD })
	if queued, err := unix.IoctlGetInt(v.fd, unix.TIOCINQ); err == nil && queued > 0 && !t.surveying() {
		t.warn("process %d: %s: %d bytes of events that were not read yet are not in the image", t.pid, v.object(), queued)
	}
	return in, nil
}

// searchLimit bounds the number of directory entries that findInode looks at.
const searchLimit = 20000

// findInode looks for a name of an inode: among the files that the program has
// open or mapped and the directories above them, then below these directories.
func (t *target) findInode(key fileKey) string {
	places := t.knownPlaces()
	for _, p := range places {
		if isInode(p, key) {
			return p
		}
	}
	budget := searchLimit
	for _, p := range places {
		if st, err := os.Lstat(p); err != nil || !st.IsDir() || p == "/" || strings.HasPrefix(p, "/proc") {
			continue
		}
		if found := searchBelow(p, key, 4, &budget); found != "" {
			return found
		}
	}
	return ""
}

// knownPlaces lists paths that the program surely knows, nearest first.
func (t *target) knownPlaces() []string {
	var places []string
	seen := map[string]bool{}
	add := func(path string) {
		for strings.HasPrefix(path, "/") && !seen[path] {
			seen[path] = true
			places = append(places, path)
			path = filepath.Dir(path)
		}
	}
	if cwd, _, err := procfs.Cwd(t.pid); err == nil {
		add(cwd)
		if args, err := procfs.Cmdline(t.pid); err == nil {
			for _, a := range args {
				if !filepath.IsAbs(a) {
					a = filepath.Join(cwd, a)
				}
				add(filepath.Clean(a))
			}
		}
	}
	for _, v := range t.byID {
		if path, ok := v.named(); ok {
			add(path)
		}
	}
	if maps, err := procfs.ReadMaps(t.pid); err == nil {
		for i := range maps {
			add(maps[i].Path)
		}
	}
	for _, p := range []string{os.TempDir(), "/etc", "/dev/shm", "/run", "/var/log"} {
		add(p)
	}
	return places
}

// searchBelow looks for an inode in a directory tree, budget entries at most.
func searchBelow(dir string, key fileKey, depth int, budget *int) string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return ""
	}
	for _, e := range entries {
		if *budget--; *budget < 0 {
			return ""
		}
		if path := filepath.Join(dir, e.Name()); isInode(path, key) {
			return path
		}
	}
	if depth == 0 {
		return ""
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		if found := searchBelow(filepath.Join(dir, e.Name()), key, depth-1, budget); found != "" {
			return found
		}
	}
	return ""
}

// isInode tells whether a path leads to an inode.
func isInode(path string, key fileKey) bool {
	var st unix.Stat_t
	return unix.Lstat(path, &st) == nil && st.Ino == key.ino && st.Dev == key.dev
}
