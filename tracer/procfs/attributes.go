package procfs

import "bytes"

// ReadAuxv returns the auxiliary vector as it is in memory: pairs of words in
// the program's size. A kernel thread and a zombie have none.
func ReadAuxv(pid int) ([]byte, error) {
	return read(pidPath(pid, "auxv"), func(b []byte) ([]byte, error) { return bytes.Clone(b), nil })
}

// ReadPersonality returns the execution domain, see personality(2).
func ReadPersonality(pid int) (uint64, error) { return read(pidPath(pid, "personality"), hexFile) }

// ReadCoredumpFilter returns the mask of memory that a core dump holds, see core(5).
func ReadCoredumpFilter(pid int) (uint64, error) {
	return read(pidPath(pid, "coredump_filter"), hexFile)
}

// ReadOOMScoreAdj returns how eagerly the kernel kills the process when memory
// runs out, -1000 to 1000.
func ReadOOMScoreAdj(pid int) (int, error) { return read(pidPath(pid, "oom_score_adj"), intFile) }

// ReadComm returns the name of a thread.
func ReadComm(pid, tid int) (string, error) { return read(taskPath(pid, tid, "comm"), commFile) }

// hexFile reads a file that is one hexadecimal number.
func hexFile(data []byte) (uint64, error) {
	n, ok := hex(bytes.TrimSuffix(data, newline))
	if !ok {
		return 0, badLine(1, data, "not a hexadecimal number")
	}
	return n, nil
}

// intFile reads a file that is one decimal number.
func intFile(data []byte) (int, error) {
	n, ok := integer(bytes.TrimSuffix(data, newline))
	if !ok {
		return 0, badLine(1, data, "not a number")
	}
	return n, nil
}

// commFile reads a name: the newline at the end is the kernel's, all others are
// part of it.
func commFile(data []byte) (string, error) {
	name, ok := bytes.CutSuffix(data, newline)
	if !ok {
		return "", badLine(1, data, "no newline at the end")
	}
	return string(name), nil
}
