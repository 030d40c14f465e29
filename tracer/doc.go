// Package tracer takes exclusive, stoppable control of processes.
//
// Two kinds of processes are controlled. A Process runs a program that must go
// on unharmed: Freeze stops all its threads, Remote makes system calls inside it
// in a way that survives the tracer's death at any instant, Release lets it go
// exactly as it was. A Stub is a process that is being rebuilt from an image; it
// dies with the tracer (PTRACE_O_EXITKILL) and is driven in fast batches.
//
// # Concurrency
//
// The kernel ties a tracee to the thread that attached to it. Do runs a whole
// operation on one locked thread that ends with it; nothing of this package may
// be used from another thread, except Memory's reading methods.
//
// # Exits
//
// The wait calls here never consume the exit of a thread-group leader: the
// tracer may be the leader's parent too (a supervisor), and the exit status is
// the supervisor's. ErrTaskGone tells of it; it is an ordinary outcome.
package tracer
