package restore

import (
	"fmt"
	"syscall"

	"github.com/crtrace/crtrace/parasite"
	"github.com/crtrace/crtrace/tracer"
)

// Parts of a stub's room for arguments: records first, then their data.
const (
	recordsLen = 4096 * parasite.RecordSize
	dataLen    = 512 << 10
)

// script is a list of system calls that one thread of a stub makes in a row.
// It runs in as many batches as its records and data need.
type script struct {
	thread  *tracer.StubThread
	stub    *tracer.Stub
	compat  bool // calls are of the 32-bit table
	records []parasite.Record
	what    []string // says what each call is for, in messages
	data    []byte
	err     error
}

func newScript(stub *tracer.Stub, thread *tracer.StubThread) *script {
	return &script{stub: stub, thread: thread}
}

// bytes places data where the calls can read it and returns its address, which
// is good for the next call of add.
func (s *script) bytes(b []byte) uint64 {
	const align = 16
	if len(s.data)+len(b)+align > dataLen {
		s.flush()
	}
	for len(s.data)%align != 0 {
		s.data = append(s.data, 0)
	}
	base, _ := s.stub.Data()
	addr := base + recordsLen + uint64(len(s.data))
	s.data = append(s.data, b...)
	return addr
}

// text is bytes for a string that ends in a zero byte.
func (s *script) text(t string) uint64 { return s.bytes(append([]byte(t), 0)) }

// room makes sure that data of n bytes and one more record go into one batch.
func (s *script) room(n int) {
	if len(s.data)+n+64 > dataLen || (len(s.records)+2)*parasite.RecordSize > recordsLen {
		s.flush()
	}
}

// add appends a call. A failure ends the script with an error that says what.
func (s *script) add(what string, nr int, args ...uint64) {
	r := parasite.Record{NR: uint64(nr), Stop: true}
	copy(r.Args[:], args)
	s.records = append(s.records, r)
	s.what = append(s.what, what)
	if (len(s.records)+1)*parasite.RecordSize > recordsLen {
		s.flush()
	}
}

// try is add for a call that may fail.
func (s *script) try(nr int, args ...uint64) {
	s.add("", nr, args...)
	if n := len(s.records); n > 0 {
		s.records[n-1].Stop = false
	}
}

// flush runs what was added so far.
func (s *script) flush() {
	if s.err != nil || len(s.records) == 0 {
		s.records, s.what, s.data = s.records[:0], s.what[:0], s.data[:0]
		return
	}
	base, _ := s.stub.Data()
	if err := s.stub.Mem.Write(base+recordsLen, s.data); err != nil {
		s.err = err
		return
	}
	run := s.thread.Batch
	if s.compat {
		run = s.thread.Batch32
	}
	results, err := run(s.records, 0)
	if err != nil {
		s.err = err
		return
	}
	last := len(results) - 1
	if errno := results[last]; errno < 0 && errno > -4096 && s.records[last].Stop {
		s.err = fmt.Errorf("%s: %w", s.what[last], syscall.Errno(-errno))
	}
	s.records, s.what, s.data = s.records[:0], s.what[:0], s.data[:0]
}

// run flushes the script and returns its first error.
func (s *script) run() error {
	s.flush()
	return s.err
}
