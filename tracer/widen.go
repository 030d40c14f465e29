package tracer

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Widen gives a TCP socket room for some received bytes, so that what its other end
// can't get rid of comes in: raising the low-water mark enlarges the receive buffer
// (tcp_set_rcvlowat in net/ipv4/tcp.c, since 4.18), up to half of tcp_rmem's largest,
// as the kernel does by itself for who reads much. The mark goes back at once; the
// buffer stays that large until Narrow. Then a peek has the kernel tell the other end (tcp_cleanup_rbuf), which
// would find out by itself only at its next probe. A buffer that the program has fixed
// by SO_RCVBUF stays as it is.
func Widen(fd, bytes int) error {
	before, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVLOWAT)
	if err != nil {
		return fmt.Errorf("SO_RCVLOWAT: %w", err)
	}
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVLOWAT, max(before, bytes))
	err = errors.Join(err, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVLOWAT, before))
	if err != nil {
		return fmt.Errorf("SO_RCVLOWAT: %w", err)
	}
	if offset, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEEK_OFF); err == nil && offset >= 0 {
		return nil // a peek would move it
	}
	_, _, err = unix.Recvfrom(fd, make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
	if err != nil && !errors.Is(err, unix.EAGAIN) {
		return fmt.Errorf("peek: %w", err)
	}
	return nil
}

// Narrow gives the receive buffer of a socket the size in bytes that SO_RCVBUF told
// before Widen, so that no more comes in than before. The kernel lets nobody set more
// than twice net.core.rmem_max: one that had grown beyond that has to grow anew. Before
// 5.14 a size that was set could not be left to the kernel again (SO_BUF_LOCK); there
// the buffer stays as it is.
func Narrow(fd, size int) error {
	const receive = 2 // SOCK_RCVBUF_LOCK
	locked, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BUF_LOCK)
	if err != nil || locked&receive != 0 {
		return nil
	}
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, size/2) // the kernel doubles it
	if err := errors.Join(err, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BUF_LOCK, locked)); err != nil {
		return fmt.Errorf("SO_RCVBUF: %w", err)
	}
	return nil
}

// Widen does the same for a socket of the stopped program, of which fd is a duplicate
// and num its number there. Should the tracer die before the mark is back, the leader
// gives it back on its way to the program.
func (r *Remote) Widen(fd, num, bytes int) error {
	before, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVLOWAT)
	if err != nil {
		return fmt.Errorf("SO_RCVLOWAT: %w", err)
	}
	if err := r.guard(num, before); err != nil {
		return err
	}
	return errors.Join(Widen(fd, bytes), r.guard(-1, 0))
}
