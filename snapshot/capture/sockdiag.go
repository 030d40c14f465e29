package capture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// sockDiag asks the kernel for one socket (sock_diag(7)): request is what follows the
// netlink header, and so is the answer. unix.ENOENT: there is no such socket in this
// network namespace.
func sockDiag(request []byte) ([]byte, error) {
	const byFamily = 20 // SOCK_DIAG_BY_FAMILY
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, fmt.Errorf("sock_diag: %w", err)
	}
	defer unix.Close(fd)
	le := binary.LittleEndian
	message := le.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(request)))
	message = le.AppendUint16(message, byFamily)
	message = le.AppendUint16(message, unix.NLM_F_REQUEST)
	message = append(message, make([]byte, 8)...)
	if err := unix.Sendto(fd, append(message, request...), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, fmt.Errorf("sock_diag: %w", err)
	}
	buf := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, buf, 0)
	if err != nil {
		return nil, fmt.Errorf("sock_diag: %w", err)
	}
	return parseSockDiag(buf[:n])
}

var errShortDiag = errors.New("sock_diag: the kernel's answer is cut short")

// parseSockDiag takes the netlink header off an answer.
func parseSockDiag(b []byte) ([]byte, error) {
	const kind, errorLen = 4, 4 // offset of the type; size of an error number
	le := binary.LittleEndian
	if len(b) < unix.SizeofNlMsghdr+errorLen {
		return nil, errShortDiag
	}
	body := b[unix.SizeofNlMsghdr:max(unix.SizeofNlMsghdr, min(len(b), int(le.Uint32(b))))]
	switch {
	case le.Uint16(b[kind:]) != unix.NLMSG_ERROR:
		return body, nil
	case len(body) < errorLen:
		return nil, errShortDiag
	default:
		return nil, fmt.Errorf("sock_diag: the kernel answers: %w", syscall.Errno(-int32(le.Uint32(body))))
	}
}
