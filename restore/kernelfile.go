package restore

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/crtrace/crtrace/snapshot"
	"golang.org/x/sys/unix"
)

// makeKernelFile opens a file of /proc or /sys in the process: those of the
// process itself are not there before it.
func makeKernelFile(p *process, d *snapshot.Description) (int, error) {
	k := d.Detail.(*snapshot.KernelFile)
	path := p.run.procPath(k.Path)
	data, _ := p.stub.Data()
	if err := p.stub.Mem.Write(data, append([]byte(path), 0)); err != nil {
		return -1, err
	}
	num, err := p.call("open "+path, unix.SYS_OPEN, data, uint64(openFlags(d)&^unix.O_CLOEXEC), 0)
	if err != nil || k.Offset == 0 {
		return int(num), err
	}
	if _, err := p.call("seek in "+path, unix.SYS_LSEEK, num, uint64(k.Offset), unix.SEEK_SET); err != nil {
		return -1, fmt.Errorf("descriptor %d: %w", num, err)
	}
	return int(num), nil
}

// procPath translates a path below the directory of a process of the tree.
func (r *run) procPath(path string) string {
	rest, ok := strings.CutPrefix(path, "/proc/")
	if !ok {
		return path
	}
	first, rest, _ := strings.Cut(rest, "/")
	pid, err := strconv.Atoi(first)
	if err != nil {
		return path
	}
	return "/proc/" + strconv.Itoa(r.pidOf(pid)) + "/" + rest
}
