// Package procfs reads what Linux tells about processes under /proc, for a
// checkpointer: memory areas and which of their pages hold data, descriptors,
// locks, timers, states and counters of threads.
//
// Every file has a parser, a pure function from the bytes of the file to a Go
// value, and a thin reader around it. A parser refuses what it does not
// understand with a *ParseError that names the line: a checkpoint that was
// made from a misread file is worse than none. Keys that a parser does not
// know are skipped, because kernels add some in every release. All numbers are
// in the kernel's own unit unless the field says otherwise.
//
// Processes end when they like. Whatever a reader returns then is an error for
// which Gone is true. A process that is not stopped also changes while it is
// read: only what was read while all its threads were stopped is one state.
//
// All functions may be called from any number of goroutines at a time. A
// *Pagemap belongs to one goroutine, a *LoadAvg may be shared.
package procfs
