package supervisor

import (
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// stopOften seizes a process, stops it many times and lets it go, as a
// checkpoint does. The error is errFine when each stop was seen here.
func stopOften(pid int) error {
	runtime.LockOSThread() // the goroutine ends with it: the thread ends and detaches
	if err := unix.PtraceSeize(pid); err != nil {
		return fmt.Errorf("seize: %w", err)
	}
	for i := range 200 {
		if err := unix.PtraceInterrupt(pid); err != nil {
			return fmt.Errorf("interrupt %d: %w", i, err)
		}
		// Signals of other children make the supervisor look for something to reap.
		if err := unix.Kill(unix.Getpid(), unix.SIGCHLD); err != nil {
			return err
		}
		var status unix.WaitStatus
		for {
			_, err := unix.Wait4(pid, &status, unix.WALL, nil)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if err != nil {
				return fmt.Errorf("wait %d: %w", i, err)
			}
			break
		}
		if err := unix.PtraceCont(pid, 0); err != nil {
			return fmt.Errorf("continue %d: %w", i, err)
		}
	}
	return errFine
}
