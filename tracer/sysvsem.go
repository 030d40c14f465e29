package tracer

import (
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Commands of semctl(2).
const (
	semGetPID = 11
	semGetVal = 12
)

// SemaphorePIDs returns who changed each of the n semaphores of a set last, 0 for nobody.
func SemaphorePIDs(id, n int) ([]int, error) { return eachSemaphore(id, n, semGetPID) }

// SemaphoreValues returns the values of the n semaphores of a set.
func SemaphoreValues(id, n int) ([]int, error) { return eachSemaphore(id, n, semGetVal) }

func eachSemaphore(id, n, command int) ([]int, error) {
	out := make([]int, n)
	for i := range out {
		v, _, errno := unix.Syscall6(unix.SYS_SEMCTL, uintptr(id), uintptr(i), uintptr(command), 0, 0, 0)
		if errno != 0 {
			return nil, fmt.Errorf("semctl: %w", errno)
		}
		out[i] = int(v)
	}
	return out, nil
}

// Semop is one operation of semop(2).
type Semop struct {
	Semaphore int
	Add       int
	Undo      bool // with SEM_UNDO
}

// EncodeSemops makes an array of struct sembuf. No operation waits.
func EncodeSemops(ops []Semop) []byte {
	const nowait, undo = 0o4000, 0x1000 // IPC_NOWAIT, SEM_UNDO
	var b []byte
	for _, o := range ops {
		flags := uint16(nowait)
		if o.Undo {
			flags |= undo
		}
		b = binary.LittleEndian.AppendUint16(b, uint16(o.Semaphore))
		b = binary.LittleEndian.AppendUint16(b, uint16(o.Add))
		b = binary.LittleEndian.AppendUint16(b, flags)
	}
	return b
}

// MoveAdjustment appends operations that add something to the adjustment of a semaphore,
// which is what the kernel adds to it when the process ends, and leave its value as it is.
// On the way the value stays within what is possible.
func MoveAdjustment(ops []Semop, semaphore, value, by int) []Semop {
	const half = 16384 // below it there is room to go up, from it on to go down
	for by != 0 {
		step := max(-half, min(by, half))
		by -= step
		undone, plain := Semop{semaphore, -step, true}, Semop{semaphore, step, false}
		if (value < half) == (step > 0) {
			undone, plain = plain, undone
		}
		ops = append(ops, undone, plain)
	}
	return ops
}

// MaxSemops returns how many operations one semop(2) may have.
func MaxSemops() int {
	const usual, most = 500, 2000 // most: what fits where the arrays are put
	text, err := os.ReadFile("/proc/sys/kernel/sem")
	if words := strings.Fields(string(text)); err == nil && len(words) == 4 {
		if n, err := strconv.Atoi(words[2]); err == nil {
			return min(n, most)
		}
	}
	return usual
}
