package capture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// unixInfo is what sock_diag(7) tells of a unix socket.
type unixInfo struct {
	peer     uint64 // inode of the peer, 0 without one
	shutdown int    // 1 receiving, 2 sending
	name     uint64 // inode of its name in the file system, 0 without one
}

// Attributes and requests of sock_diag (linux/unix_diag.h, linux/sock_diag.h).
const (
	diagByFamily     = 20
	showName         = 0x2
	showPeer         = 0x4
	attrName         = 1
	attrPeer         = 2
	attrShutdown     = 6
	diagMessageSize  = 16
	netlinkHeaderLen = 16
)

// unixDiag asks the kernel for one unix socket by its inode.
func unixDiag(ino uint64) (unixInfo, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return unixInfo{}, err
	}
	defer unix.Close(fd)
	le := binary.LittleEndian
	req := le.AppendUint32(nil, 40) // struct nlmsghdr
	req = le.AppendUint16(req, diagByFamily)
	req = le.AppendUint16(req, unix.NLM_F_REQUEST)
	req = append(req, make([]byte, 8)...)
	req = append(req, unix.AF_UNIX, 0, 0, 0) // struct unix_diag_req
	req = le.AppendUint32(req, ^uint32(0))   // states
	req = le.AppendUint32(req, uint32(ino))  //
	req = le.AppendUint32(req, showPeer|showName)

	req = le.AppendUint64(req, ^uint64(0)) // cookie: any
	if err := unix.Sendto(fd, req, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return unixInfo{}, err
	}
	buf := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, buf, 0)
	if err != nil {
		return unixInfo{}, err
	}
	return parseUnixDiag(buf[:n])
}

// parseUnixDiag reads the answer: a netlink header, struct unix_diag_msg,
// attributes.
func parseUnixDiag(b []byte) (unixInfo, error) {
	var info unixInfo
	if len(b) < netlinkHeaderLen+4 {
		return info, errors.New("the kernel's answer is cut short")
	}
	le := binary.LittleEndian
	if le.Uint16(b[4:]) == unix.NLMSG_ERROR {
		return info, fmt.Errorf("the kernel answers: %w", syscall.Errno(-int32(le.Uint32(b[netlinkHeaderLen:]))))
	}
	end := min(int(le.Uint32(b)), len(b))
	for at := netlinkHeaderLen + diagMessageSize; at+4 <= end; {
		size, kind := int(le.Uint16(b[at:])), le.Uint16(b[at+2:])
		if size < 4 || at+size > end {
			return info, errors.New("the kernel's answer has a bad attribute")
		}
		data := b[at+4 : at+size]
		switch {
		case kind == attrPeer && len(data) >= 4:
			info.peer = uint64(le.Uint32(data))
		case kind == attrName && len(data) >= 4:
			info.name = uint64(le.Uint32(data)) // as many bits as the kernel tells
		case kind == attrShutdown && len(data) >= 1:
			info.shutdown = int(data[0])
		}
		at += (size + 3) &^ 3
	}
	return info, nil
}
