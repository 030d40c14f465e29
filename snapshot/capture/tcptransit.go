package capture

import (
	"errors"
	"fmt"
	"time"

	"github.com/crtrace/crtrace/tracer"
	"golang.org/x/sys/unix"
)

// transitPatience is how long bytes that are under way are waited for without any
// coming in. Inside one host it is a matter of microseconds, unless packets are lost.
const transitPatience = 300 * time.Millisecond

// awaitArrival waits until everything that v has sent has arrived at its peer.
func (t *target) awaitArrival(v, peer *view) (arrived bool, err error) {
	left, err := drawIn(peer, func() (uint64, error) {
		sent, err := tcpInfo(v)
		if err != nil {
			return 0, err
		}
		got, err := tcpInfo(peer)
		if err != nil {
			return 0, err
		}
		received := got.Bytes_received
		if got.State == tcpCloseWait {
			received-- // the end of the stream counts as one
		}
		return sent.Bytes_sent - sent.Bytes_retrans + uint64(sent.Notsent_bytes) - received, nil
	})
	if err != nil || left == 0 {
		return err == nil, err
	}
	t.refuse(v.object(), fmt.Sprintf("%d bytes were sent that do not get through, because the receiver reads too little", left),
		"try again when it has read more")
	return false, nil
}

// awaitEnd waits until the rest that a closed other end has sent has arrived, and its
// end.
func awaitEnd(v *view, other func() (inetInfo, error)) error {
	_, err := drawIn(v, func() (uint64, error) {
		info, err := tcpInfo(v)
		if err != nil || info.State != tcpEstablished {
			return 0, err
		}
		sender, err := other()
		return uint64(max(sender.unacknowledged, 1)), err
	})
	return err
}

// drawIn waits until no bytes for a receiver are missing any more, and gives it room
// for those that do not come by themselves. It returns how many are left.
func drawIn(receiver *view, missing func() (uint64, error)) (left uint64, err error) {
	size, err := unix.GetsockoptInt(receiver.fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
	if err != nil {
		return 0, fmt.Errorf("SO_RCVBUF: %w", err)
	}
	factor := 0 // how much the kernel allows for a byte depends on the sizes of packets
	left, err = poll(missing, func(left uint64) error {
		has, err := unix.IoctlGetInt(receiver.fd, unix.TIOCINQ)
		if err != nil {
			return fmt.Errorf("SIOCINQ: %w", err)
		}
		factor = max(1, min(2*factor, 1<<10))
		room := min((uint64(has)+left)*uint64(factor), 1<<30)
		return receiver.t.remote.Widen(receiver.fd, receiver.num, int(room))
	})
	if factor > 0 {
		err = errors.Join(err, tracer.Narrow(receiver.fd, size))
	}
	return left, err
}

// poll looks until missing tells 0, or has told the same for too long. It calls
// stalled each time that nothing has changed since the last look.
func poll(missing func() (uint64, error), stalled func(left uint64) error) (left uint64, err error) {
	const step = time.Millisecond
	tick := time.NewTicker(step)
	defer tick.Stop()
	before, end := ^uint64(0), time.Now().Add(transitPatience)
	for ; ; <-tick.C {
		left, err := missing()
		switch {
		case err != nil || left == 0:
			return left, err
		case left != before:
			before, end = left, time.Now().Add(transitPatience)
		case time.Now().After(end):
			return left, nil
		default:
			if err := stalled(left); err != nil {
				return left, err
			}
		}
	}
}
