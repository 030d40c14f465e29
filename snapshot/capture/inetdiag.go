package capture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// inetInfo is what sock_diag(7) tells of an internet socket.
type inetInfo struct {
	state int    // tcp*, 0: there is no such socket
	inode uint64 // 0: no process has it open
}

// inetDiag asks the kernel for the TCP socket with a local and a remote address.
func inetDiag(local, remote netip.AddrPort) (inetInfo, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return inetInfo{}, err
	}
	defer unix.Close(fd)
	family := byte(unix.AF_INET6)
	if local.Addr().Is4() {
		family = unix.AF_INET
	}
	le := binary.LittleEndian
	req := le.AppendUint32(nil, 72) // struct nlmsghdr
	req = le.AppendUint16(req, diagByFamily)
	req = le.AppendUint16(req, unix.NLM_F_REQUEST)
	req = append(req, make([]byte, 8)...)
	req = append(req, family, unix.IPPROTO_TCP, 0, 0) // struct inet_diag_req_v2
	req = le.AppendUint32(req, ^uint32(0))            // states
	req = binary.BigEndian.AppendUint16(req, local.Port())
	req = binary.BigEndian.AppendUint16(req, remote.Port())
	for _, a := range []netip.Addr{local.Addr(), remote.Addr()} {
		req = append(req, append(a.AsSlice(), make([]byte, 16)...)[:16]...)
	}
	req = le.AppendUint32(req, 0)          // interface: any
	req = le.AppendUint64(req, ^uint64(0)) // cookie: any
	if err := unix.Sendto(fd, req, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return inetInfo{}, fmt.Errorf("sock_diag: %w", err)
	}
	buf := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, buf, 0)
	if err != nil {
		return inetInfo{}, fmt.Errorf("sock_diag: %w", err)
	}
	return parseInetDiag(buf[:n])
}

// parseInetDiag reads the answer: a netlink header, struct inet_diag_msg.
func parseInetDiag(b []byte) (inetInfo, error) {
	const state, inode, size = 1, 68, 72 // in struct inet_diag_msg
	le := binary.LittleEndian
	if len(b) < netlinkHeaderLen+4 {
		return inetInfo{}, errors.New("sock_diag: the kernel's answer is cut short")
	}
	body := b[netlinkHeaderLen:]
	if le.Uint16(b[4:]) == unix.NLMSG_ERROR {
		errno := syscall.Errno(-int32(le.Uint32(body)))
		if errno == unix.ENOENT {
			return inetInfo{}, nil
		}
		return inetInfo{}, fmt.Errorf("sock_diag: the kernel answers: %w", errno)
	}
	if len(body) < size {
		return inetInfo{}, errors.New("sock_diag: the kernel's answer is cut short")
	}
	return inetInfo{int(body[state]), uint64(le.Uint32(body[inode:]))}, nil
}
