package supervisor

import (
	"errors"

	"golang.org/x/sys/unix"
)

// reap waits for the program and for orphans that came to us as subreaper, one
// pass for each poke, always with the turn. It ends with done or after the
// program has ended.
func (s *Supervisor) reap(pidfd int, done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		case <-s.kick:
		}
		select {
		case <-done:
			return
		case <-s.turn:
		}
		ended := s.reapPass(pidfd)
		s.turn <- struct{}{}
		if ended {
			return
		}
	}
}

// reapPass takes everything that there is to be waited for and tells whether
// the program has ended.
func (s *Supervisor) reapPass(pidfd int) bool {
	ended := false
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG|unix.WUNTRACED|unix.WCONTINUED, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil, pid == 0:
			if !ended && errors.Is(err, unix.ECHILD) && readable(pidfd) {
				s.events <- event{lost: true}
				return true
			}
			return ended
		case pid != s.pid:
			s.cfg.Log.Debug("orphan", "pid", pid, "status", int(status))
		default:
			s.events <- event{status: status}
			ended = ended || status.Exited() || status.Signaled()
		}
	}
}

// readable tells whether a pidfd reports the end of its process.
func readable(pidfd int) bool {
	fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n == 1
}
