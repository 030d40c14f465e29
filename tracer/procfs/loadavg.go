package procfs

import (
	"bytes"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"
)

// loadAvgPath is the file that a LoadAvg reads.
const loadAvgPath = "/proc/loadavg"

// LoadAvg is /proc/loadavg, kept open: reading the last process id again then
// takes a microsecond. LastPID may be called by several goroutines at a time;
// Close ends that.
type LoadAvg struct{ fd int }

// OpenLoadAvg opens /proc/loadavg. The caller closes it.
func OpenLoadAvg() (*LoadAvg, error) {
	fd, err := openFile(loadAvgPath)
	if err != nil {
		return nil, err
	}
	return &LoadAvg{fd}, nil
}

// LastPID returns the id that was given last to a process or thread in the pid
// namespace of the caller.
func (l *LoadAvg) LastPID() (int, error) {
	var buf [128]byte
	n, err := pread(l.fd, buf[:], 0)
	if err != nil {
		return 0, &fs.PathError{Op: "read", Path: loadAvgPath, Err: err}
	}
	pid, err := parseLoadAvg(buf[:n])
	if err != nil {
		return 0, fmt.Errorf("%s: %w", loadAvgPath, err)
	}
	return pid, nil
}

// Close closes the file. A second call does nothing.
func (l *LoadAvg) Close() error { return closeOnce(&l.fd) }

// parseLoadAvg reads "0.08 0.05 0.01 1/85 5042" and returns the last word.
func parseLoadAvg(data []byte) (int, error) {
	line, _ := cutLine(data)
	pid, ok := integer(line[bytes.LastIndexByte(line, ' ')+1:])
	if !ok || pid < 0 || bytes.Count(line, []byte{' '}) != 4 {
		return 0, badLine(1, line, "not five words with a process id at the end")
	}
	return pid, nil
}

// pread is pread(2), restarted after a signal.
func pread(fd int, buf []byte, off int64) (int, error) {
	for {
		n, err := unix.Pread(fd, buf, off)
		if err != unix.EINTR {
			return n, err
		}
	}
}

// closeOnce closes a descriptor and forgets it.
func closeOnce(fd *int) error {
	if *fd < 0 {
		return nil
	}
	err := unix.Close(*fd)
	*fd = -1
	return err
}
