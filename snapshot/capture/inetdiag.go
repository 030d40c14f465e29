package capture

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"
)

// inetInfo is what sock_diag(7) tells of an internet socket.
type inetInfo struct {
	state int    // tcp*, 0: there is no such socket
	inode uint64 // 0: no process has it open
	// unacknowledged is how many bytes were written that the other end has not
	// received, with its own end as one.
	unacknowledged int
}

// inetDiag asks the kernel for the TCP socket with a local and a remote address.
func inetDiag(local, remote netip.AddrPort) (inetInfo, error) {
	family := byte(unix.AF_INET6)
	if local.Addr().Is4() {
		family = unix.AF_INET
	}
	le := binary.LittleEndian
	req := []byte{family, unix.IPPROTO_TCP, 0, 0} // struct inet_diag_req_v2
	req = le.AppendUint32(req, ^uint32(0))        // states
	req = binary.BigEndian.AppendUint16(req, local.Port())
	req = binary.BigEndian.AppendUint16(req, remote.Port())
	for _, a := range []netip.Addr{local.Addr(), remote.Addr()} {
		req = append(req, append(a.AsSlice(), make([]byte, 16)...)[:16]...)
	}
	req = le.AppendUint32(req, 0)          // interface: any
	req = le.AppendUint64(req, ^uint64(0)) // cookie: any
	answer, err := sockDiag(req)
	if errors.Is(err, unix.ENOENT) {
		return inetInfo{}, nil
	}
	if err != nil {
		return inetInfo{}, err
	}
	return parseInetDiag(answer)
}

// parseInetDiag reads struct inet_diag_msg.
func parseInetDiag(b []byte) (inetInfo, error) {
	const state, wqueue, inode, size = 1, 60, 68, 72
	if len(b) < size {
		return inetInfo{}, errShortDiag
	}
	le := binary.LittleEndian
	return inetInfo{int(b[state]), uint64(le.Uint32(b[inode:])), int(le.Uint32(b[wqueue:]))}, nil
}
