package procfs

// Syscall tells where a thread is blocked.
type Syscall struct {
	Running bool  // not blocked: nothing else is known
	NR      int64 // system call it is in, -1: blocked outside of any
	Args    [6]uint64
	SP, PC  uint64
}

// ReadSyscall reads which system call a thread is blocked in. The caller must
// be allowed to trace it.
func ReadSyscall(pid, tid int) (Syscall, error) {
	return read(taskPath(pid, tid, "syscall"), parseSyscall)
}

// parseSyscall reads "running", "-1 SP PC" or "NR ARG ARG ARG ARG ARG ARG SP PC".
func parseSyscall(data []byte) (Syscall, error) {
	line, rest := cutLine(data)
	if len(rest) > 0 {
		return Syscall{}, badLine(2, rest, "more than one record")
	}
	if string(trim(line)) == "running" {
		return Syscall{Running: true}, nil
	}
	var s Syscall
	f, left := cutField(line)
	nr, ok := signed(f)
	if !ok || nr < -1 {
		return Syscall{}, badLine(1, line, "bad system call number")
	}
	s.NR = nr
	values := []*uint64{&s.Args[0], &s.Args[1], &s.Args[2], &s.Args[3], &s.Args[4], &s.Args[5], &s.SP, &s.PC}
	if nr == -1 {
		values = values[6:]
	}
	for _, v := range values {
		f, left = cutField(left)
		if *v, ok = prefixedHex(f); !ok {
			return Syscall{}, badLine(1, line, "bad or missing number")
		}
	}
	if len(trim(left)) > 0 {
		return Syscall{}, badLine(1, line, "too many words")
	}
	return s, nil
}
