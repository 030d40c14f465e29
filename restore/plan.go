package restore

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/crtrace/crtrace/snapshot"
	"github.com/crtrace/crtrace/tracer/procfs"
	"golang.org/x/sys/unix"
)

// Plan is what a restore will do. It is made without creating a process or
// changing a file.
type Plan struct {
	o        Options
	manifest *snapshot.Manifest

	mode     PIDMode
	setTID   bool
	steps    []step   // how the processes are made
	sources  []source // by File id
	rollback []rollback
	problems []string
	warnings []string
}

// source tells where the content of a file comes from.
type source struct {
	path   string // on disk; empty: from the image
	saved  string // SHA-256 of the copy in the image
	create bool   // it is not there, and is made
	append bool   // who was at its end goes on at its end
}

// rollback is a file that is cut back to the length that it had.
type rollback struct {
	file int   // Manifest.Files
	from int64 // length now
	to   int64 // length then
	// content: the whole content is put back, from the copy in the image.
	content bool
}

// MakePlan decides how an image is restored on this host, and refuses what
// can't be. It changes the paths in the image's manifest as o.Moves and o.Cwd say.
// Errors are *RefusedError and failures to read the host's state.
func MakePlan(im *snapshot.Image, o Options) (*Plan, error) {
	p := &Plan{o: o, manifest: im.Manifest}
	if o.PIDs == "" {
		p.o.PIDs = PIDAuto
	}
	if o.TailDir == "" {
		p.o.TailDir = im.Dir() + ".tails"
	}
	err := p.move()
	if err != nil {
		return nil, err
	}
	if p.o.TailDir, err = filepath.Abs(p.o.TailDir); err != nil {
		return nil, err
	}
	if err := p.checkHost(im); err != nil {
		return nil, err
	}
	for i := range p.manifest.Processes {
		p.checkProcess(&p.manifest.Processes[i])
	}
	p.checkMemory()
	if p.steps, err = layOut(p.manifest); err != nil {
		p.refuse("%v", err)
	}
	if err := p.findFiles(); err != nil {
		return nil, err
	}
	if p.o.PIDs == PIDAuto || p.o.PIDs == PIDHost {
		if err := p.checkCopies(); err != nil {
			return nil, err
		}
	}
	if err := p.checkIPC(); err != nil {
		return nil, err
	}
	if len(p.problems) == 0 {
		if err := p.chooseIDs(); err != nil {
			return nil, err
		}
	}
	if len(p.problems) > 0 {
		return nil, &RefusedError{p.problems}
	}
	return p, nil
}

// move changes the paths of the manifest to where things lie now.
func (p *Plan) move() error {
	if err := p.manifest.Move(p.o.Moves); err != nil {
		return err
	}
	if p.o.Cwd == "" {
		return nil
	}
	was := p.manifest.Processes[0].Cwd
	for i := range p.manifest.Processes {
		if proc := &p.manifest.Processes[i]; proc.Cwd == was {
			proc.Cwd, proc.CwdGone = p.o.Cwd, false
		}
	}
	return nil
}

func (p *Plan) refuse(format string, args ...any) {
	p.problems = append(p.problems, fmt.Sprintf(format, args...))
}

func (p *Plan) warn(format string, args ...any) {
	p.warnings = append(p.warnings, fmt.Sprintf(format, args...))
}

// progress tells what the restore waits for.
func (p *Plan) progress(format string, args ...any) {
	if p.o.Progress != nil {
		p.o.Progress(fmt.Sprintf(format, args...))
	}
}

// putsBack tells whether a file gets the content that it has in the image.
func (p *Plan) putsBack(file int) bool {
	return slices.ContainsFunc(p.rollback, func(r rollback) bool { return r.file == file && r.content })
}

// Mode returns where the ids will come from.
func (p *Plan) Mode() PIDMode { return p.mode }

// checkHost compares the machine with the one that the image was taken on.
func (p *Plan) checkHost(im *snapshot.Image) error {
	h := p.manifest.Host
	if h.Arch != "amd64" {
		p.refuse("the image is of a %s machine", h.Arch)
	}
	if h.PageSize != os.Getpagesize() {
		p.refuse("the image has pages of %d bytes, this machine of %d", h.PageSize, os.Getpagesize())
	}
	return p.checkXState(im)
}

// checkProcess compares the identity of a process with that of the caller.
func (p *Plan) checkProcess(proc *snapshot.Process) {
	c := proc.Credentials
	uid, gid := os.Geteuid(), os.Getegid()
	if c.UIDs != [4]int{uid, uid, uid, uid} {
		p.refuse("process %d belongs to user %d, you are user %d", proc.PID, c.UIDs[0], uid)
	}
	if c.GIDs != [4]int{gid, gid, gid, gid} {
		p.refuse("process %d has group %d, you have %d", proc.PID, c.GIDs[0], gid)
	}
	if s, err := procfs.ReadStatus(os.Getpid()); err == nil && s.SeccompFilters != proc.Attributes.Filters {
		p.warn("process %d ran under %d system call filter(s) (seccomp); here it has the %d of this command",
			proc.PID, proc.Attributes.Filters, s.SeccompFilters)
	}
	var hard unix.Rlimit
	for which, l := range proc.Limits {
		if unix.Getrlimit(which, &hard) == nil && uint64(l.Max) > hard.Max && os.Geteuid() != 0 {
			p.warn("process %d: limit %d was higher than is allowed here; it becomes %d", proc.PID, which, hard.Max)
		}
	}
	for _, fd := range proc.FDs {
		if unix.Getrlimit(unix.RLIMIT_NOFILE, &hard) == nil && uint64(fd.Num) >= hard.Max {
			p.refuse("process %d has descriptor %d, beyond the limit here (ulimit -Hn %d)", proc.PID, fd.Num, hard.Max)
			break
		}
	}
	if st, err := os.Stat(proc.Cwd); !proc.CwdGone && (err != nil || !st.IsDir()) {
		p.refuse("process %d: its working directory %s is not there; make it, or name another by --cwd or --remap", proc.PID, proc.Cwd)
	}
}

// chooseIDs decides where the ids come from.
func (p *Plan) chooseIDs() error {
	p.setTID = AskSetTID() == nil
	p.mode = p.o.PIDs
	if p.o.Inside {
		p.mode = PIDHost
	}
	if p.mode == PIDAuto && clocksWentBack(p.manifest.Host.Clocks) {
		if p.mode = PIDNamespace; CanUseNamespaces() {
			return nil
		}
		p.mode = PIDAuto
		p.warn("CLOCK_MONOTONIC is behind what the program has seen, and this host allows no time namespace")
	}
	if p.mode == PIDAny || p.mode == PIDNamespace {
		return nil
	}
	b, err := newBurner()
	if err != nil {
		return err
	}
	defer b.close()
	var taken []string
	farthest := 0
	at, err := b.last.LastPID()
	if err != nil {
		return err
	}
	for _, id := range p.wantedIDs() {
		switch {
		case b.taken(id) && b.waitFree(context.Background(), id):
			taken = append(taken, fmt.Sprint(id))
		case id >= b.max:
			taken = append(taken, fmt.Sprintf("%d (beyond kernel.pid_max)", id))
		default:
			farthest = max(farthest, b.distance(at, id))
		}
	}
	if len(taken) > 0 {
		switch ids := strings.Join(taken, ", "); {
		case p.mode == PIDHost:
			p.refuse("process ids %s are in use on this host; use --pids=namespace or --pids=any", ids)
		case !CanUseNamespaces():
			p.refuse("process ids %s are in use on this host, which allows no pid namespace either (see 'crtrace doctor'); use --pids=any", ids)
		}
		p.mode = PIDNamespace
		return nil
	}
	if p.mode == PIDHost || p.setTID {
		p.mode = PIDHost
		return nil
	}
	cost, err := b.cost()
	if err != nil {
		return err
	}
	const patience = 2e9 // nanoseconds
	p.mode = PIDHost
	if float64(cost)*float64(farthest) > patience && CanUseNamespaces() {
		p.mode = PIDNamespace
	}
	return nil
}

// wantedIDs returns all ids that processes and threads must get.
func (p *Plan) wantedIDs() []int {
	var out []int
	for _, s := range p.steps {
		if s.id > 0 && (s.kind == stepFork || s.kind == stepThread) {
			out = append(out, s.id)
		}
	}
	return out
}

// String tells the plan in lines for people.
func (p *Plan) String() string {
	var b strings.Builder
	m := p.manifest
	fmt.Fprintf(&b, "restore %d process(es) with ids from: %s\n", len(m.Processes), p.mode)
	for i := range m.Processes {
		proc := &m.Processes[i]
		fmt.Fprintf(&b, "process %d: %s, %d thread(s), %d memory areas, %d descriptors\n", proc.PID,
			m.Files[proc.Exe].Path, len(proc.Threads), len(proc.VMAs), len(proc.FDs))
	}
	for i, s := range p.sources {
		switch {
		case s.path == "" && s.saved != "":
			fmt.Fprintf(&b, "file %s: from the copy in the image\n", m.Files[i].Path)
		case s.create && !p.putsBack(i):
			fmt.Fprintf(&b, "file %s: made anew\n", m.Files[i].Path)
		case s.append:
			fmt.Fprintf(&b, "file %s: stays as it is, the program goes on at its end\n", m.Files[i].Path)
		}
	}
	for _, r := range p.rollback {
		switch {
		case r.content:
			fmt.Fprintf(&b, "file %s: its content is put back; the present one is kept in %s\n", m.Files[r.file].Path, p.o.TailDir)
		default:
			fmt.Fprintf(&b, "file %s: cut from %d to %d bytes; the tail is kept in %s\n", m.Files[r.file].Path, r.from, r.to, p.o.TailDir)
		}
	}
	for _, w := range p.warnings {
		fmt.Fprintf(&b, "warning: %s\n", w)
	}
	return b.String()
}
