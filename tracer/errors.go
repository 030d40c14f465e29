package tracer

import (
	"errors"
	"fmt"
	"syscall"
)

// ErrTaskGone tells that a task ended while it was traced. It is an ordinary
// outcome: programs end when they like.
var ErrTaskGone = errors.New("the process has ended")

// PtraceError is a failed ptrace request.
type PtraceError struct {
	Op  string // request, as in ptrace(2): "PTRACE_SEIZE"
	TID int
	Err error
}

// Error implements error.
func (e *PtraceError) Error() string { return fmt.Sprintf("%s of task %d: %v", e.Op, e.TID, e.Err) }

// Unwrap returns the cause; a task that is no more unwraps to ErrTaskGone.
func (e *PtraceError) Unwrap() error {
	if errors.Is(e.Err, syscall.ESRCH) {
		return ErrTaskGone
	}
	return e.Err
}

// PermissionError tells that the kernel does not let this user trace a process.
type PermissionError struct {
	PID  int
	Why  string // what stands in the way
	Hint string // what the user can do
}

// Error implements error.
func (e *PermissionError) Error() string {
	return fmt.Sprintf("process %d: %s; %s", e.PID, e.Why, e.Hint)
}

// RemoteError is a system call that failed inside a traced process.
type RemoteError struct {
	TID   int
	Call  string
	Errno syscall.Errno
}

// Error implements error.
func (e *RemoteError) Error() string {
	return fmt.Sprintf("%s inside task %d: %v", e.Call, e.TID, e.Errno)
}

// Unwrap returns the error number.
func (e *RemoteError) Unwrap() error { return e.Errno }
