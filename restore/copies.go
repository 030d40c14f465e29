package restore

import (
	"bytes"
	"time"

	"github.com/crtrace/crtrace/snapshot"
	"github.com/crtrace/crtrace/tracer/procfs"
)

// checkCopies refuses a restore while the program still runs: two of it would
// write into the same files. Whoever wants that names --pids=namespace or any.
func (p *Plan) checkCopies() error {
	for i := range p.manifest.Processes {
		image := &p.manifest.Processes[i]
		pid, err := awaitNoCopy(image)
		if err != nil {
			return err
		}
		if pid != 0 {
			p.refuse("the program of this image still runs, as process %d; end it first "+
				"(or name --pids=namespace or --pids=any for a second one, if they do not disturb each other)", pid)
		}
	}
	return nil
}

// awaitNoCopy looks for a process that is the one of the image, for as long as one
// that was killed may take to go. It returns its id, 0 when there is none.
func awaitNoCopy(image *snapshot.Process) (int, error) {
	const patience, step = 500 * time.Millisecond, 5 * time.Millisecond
	tick := time.NewTicker(step)
	defer tick.Stop()
	for end := time.Now().Add(patience); ; <-tick.C {
		pid, err := findCopy(image)
		if err != nil || pid == 0 || time.Now().After(end) {
			return pid, err
		}
	}
}

// findCopy returns a process that has the id of the image's, here or in a pid
// namespace, and the same auxiliary vector: with a randomised address space no
// other run of any program has that. Processes of other users can't be read.
func findCopy(image *snapshot.Process) (int, error) {
	pids, err := procfs.Processes()
	if err != nil {
		return 0, err
	}
	for _, pid := range pids {
		s, err := procfs.ReadStatus(pid)
		if err != nil || len(s.NSpid) == 0 || s.NSpid[len(s.NSpid)-1] != image.PID {
			continue
		}
		if auxv, err := procfs.ReadAuxv(pid); err == nil && len(auxv) > 0 && bytes.Equal(auxv, image.MM.Auxv) {
			return pid, nil
		}
	}
	return 0, nil
}
