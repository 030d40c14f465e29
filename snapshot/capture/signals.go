package capture

import (
	"encoding/binary"

	"github.com/crtrace/crtrace/snapshot"
	"golang.org/x/sys/unix"
)

// takeActions collects the signal actions. One of SIG_DFL counts too when it has
// flags or a mask: sigaction shows them to the program.
func (t *target) takeActions() error {
	for sig := 1; sig <= 64; sig++ {
		if sig == int(unix.SIGKILL) || sig == int(unix.SIGSTOP) {
			continue
		}
		if _, err := t.call(unix.SYS_RT_SIGACTION, uint64(sig), 0, t.remote.Area, 8); err != nil {
			return err
		}
		b, err := t.fetch(32) // struct sigaction: handler, flags, restorer, mask
		if err != nil {
			return err
		}
		word := func(i int) snapshot.Hex { return snapshot.Hex(binary.LittleEndian.Uint64(b[8*i:])) }
		a := snapshot.Action{Signal: sig, Handler: word(0), Flags: word(1), Restorer: word(2), Mask: word(3)}
		if a != (snapshot.Action{Signal: sig}) {
			t.out.Actions = append(t.out.Actions, a)
		}
	}
	return nil
}

// takePending collects the signals that wait for the process as a whole.
func (t *target) takePending() error {
	raw, err := t.proc.Leader().Pending(true)
	t.out.Pending = siginfos(raw)
	return err
}

// siginfos converts the kernel's raw siginfo_t.
func siginfos(raw [][128]byte) []snapshot.Siginfo {
	var out []snapshot.Siginfo
	for i := range raw {
		out = append(out, snapshot.Siginfo{
			Signal: int(int32(binary.LittleEndian.Uint32(raw[i][0:]))),
			Code:   int(int32(binary.LittleEndian.Uint32(raw[i][8:]))),
			Raw:    raw[i][:],
		})
	}
	return out
}
