package tracer

import (
	"runtime"
	"sync"
)

// Do runs fn on an operating system thread of its own and returns what fn
// returns. The thread is never reused: when it ends, the kernel detaches
// whatever fn left attached.
func Do(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the runtime ends the thread with the goroutine
		done <- fn()
	}()
	return <-done
}

// parents runs the functions of Keep, one after the other, on one thread that
// lives as long as the process.
var parents = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for fn := range work {
			fn()
		}
	}()
	return work
})

// Keep is Do for operations that start processes which outlive them: its thread
// never ends. A process is the child of a thread, and PR_SET_PDEATHSIG tells it
// of the end of that thread, not of the process (prctl(2)).
func Keep(fn func() error) error {
	done := make(chan error, 1)
	parents() <- func() { done <- fn() }
	return <-done
}
