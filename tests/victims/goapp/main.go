// Command goapp is a victim: a Go program with goroutines, tickers, channels,
// garbage and an HTTP server that it calls itself.
//
// It follows the protocol of victim.h. With a fifth argument "http" it calls its
// server at every step over a kept-alive connection, else only at the end.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const workers = 20

type app struct {
	stopfile string
	steps    int
	tamper   int
	url      string
	ticks    atomic.Int64
	done     [workers]atomic.Int64
	heap     map[int][]uint64
	client   http.Client
}

func say(format string, args ...any) {
	if _, err := fmt.Fprintf(os.Stdout, format+"\n", args...); err != nil {
		os.Exit(3)
	}
}

func fail(format string, args ...any) {
	say("FAIL "+format, args...)
	os.Exit(1)
}

func argument(i, otherwise int) int {
	if len(os.Args) <= i {
		return otherwise
	}
	n, err := strconv.Atoi(os.Args[i])
	if err != nil {
		os.Exit(2)
	}
	return n
}

func main() {
	if len(os.Args) < 2 || argument(4, 0) > 3 {
		os.Exit(2)
	}
	a := &app{stopfile: os.Args[1], steps: argument(2, 1<<30), tamper: argument(4, 0), heap: map[int][]uint64{}}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fail("listen: %v", err)
	}
	a.url = "http://" + listener.Addr().String() + "/"
	go func() { fail("serve: %v", http.Serve(listener, http.HandlerFunc(a.answer))) }()
	var chain sync.WaitGroup
	first, last := a.startWorkers(&chain)
	go a.tick()
	say("ready %d", os.Getpid())
	for n := 1; n <= a.steps && !exists(a.stopfile); n++ {
		say("step %d", n)
		a.step(n, first, last)
		if len(os.Args) > 5 {
			a.call(n)
		}
	}
	close(first)
	chain.Wait()
	a.call(4711)
	say("PASS")
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// startWorkers builds a chain of goroutines; each adds one to what it passes on.
func (a *app) startWorkers(wg *sync.WaitGroup) (chan<- int, <-chan int) {
	first := make(chan int)
	in := first
	for i := range workers {
		out := make(chan int, i%3)
		wg.Add(1)
		go func(in <-chan int, out chan<- int) {
			defer wg.Done()
			defer close(out)
			for v := range in {
				a.done[i].Add(1)
				out <- v + 1
			}
		}(in, out)
		in = out
	}
	return first, in
}

func (a *app) tick() {
	for range time.NewTicker(3 * time.Millisecond).C {
		a.ticks.Add(1)
	}
}

func (a *app) step(n int, first chan<- int, last <-chan int) {
	if a.tamper == 1 && n == 3 {
		a.heap[1][77]++
	}
	if a.tamper == 2 && n == 3 {
		a.done[7].Add(-1)
	}
	if a.tamper == 3 && n == 3 {
		delete(a.heap, 2)
	}
	first <- n
	if got := <-last; got != n+workers {
		fail("the chain gave %d, want %d", got, n+workers)
	}
	for i := range a.done {
		if got := a.done[i].Load(); got != int64(n) {
			fail("worker %d did %d steps, want %d", i, got, n)
		}
	}
	before := a.ticks.Load()
	a.churn(n)
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	for a.ticks.Load() == before {
		select {
		case <-deadline.C:
			fail("the ticker stands still")
		case <-time.After(time.Millisecond):
		}
	}
}

// churn makes garbage and checks every block that it keeps.
func (a *app) churn(n int) {
	block := make([]uint64, 4096)
	for i := range block {
		block[i] = uint64(n)*0x9e3779b97f4a7c15 + uint64(i)
	}
	a.heap[n] = block
	delete(a.heap, n-32)
	if want := min(n, 32); len(a.heap) != want {
		fail("%d blocks are alive, want %d", len(a.heap), want)
	}
	for k, b := range a.heap {
		for i, v := range b {
			if v != uint64(k)*0x9e3779b97f4a7c15+uint64(i) {
				fail("block %d differs at %d", k, i)
			}
		}
	}
	if n%25 == 0 {
		runtime.GC()
	}
}

func (a *app) answer(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "answer %s", r.URL.Query().Get("n"))
}

func (a *app) call(n int) {
	resp, err := a.client.Get(a.url + "?n=" + strconv.Itoa(n))
	if err != nil {
		fail("get: %v", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if want := fmt.Sprintf("answer %d", n); err != nil || string(body) != want {
		fail("get: %q (%v), want %q", body, err, want)
	}
}
