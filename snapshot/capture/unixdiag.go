package capture

import (
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"
)

// unixInfo is what sock_diag(7) tells of a unix socket.
type unixInfo struct {
	peer     uint64 // inode of the peer, 0 without one
	shutdown int    // 1 receiving, 2 sending
	name     uint64 // inode of its name in the file system, 0 without one
}

// unixDiag asks the kernel for one unix socket by its inode.
func unixDiag(ino uint64) (unixInfo, error) {
	const showName, showPeer = 0x2, 0x4 // UDIAG_SHOW_*
	le := binary.LittleEndian
	req := []byte{unix.AF_UNIX, 0, 0, 0}   // struct unix_diag_req
	req = le.AppendUint32(req, ^uint32(0)) // states
	req = le.AppendUint32(req, uint32(ino))
	req = le.AppendUint32(req, showPeer|showName)
	req = le.AppendUint64(req, ^uint64(0)) // cookie: any
	answer, err := sockDiag(req)
	if err != nil {
		return unixInfo{}, err
	}
	return parseUnixDiag(answer)
}

// parseUnixDiag reads struct unix_diag_msg and the attributes that follow it.
func parseUnixDiag(b []byte) (unixInfo, error) {
	const messageLen, attrLen = 16, 4
	const attrName, attrPeer, attrShutdown = 1, 2, 6 // UNIX_DIAG_*
	var info unixInfo
	if len(b) < messageLen {
		return info, errShortDiag
	}
	le := binary.LittleEndian
	for b = b[messageLen:]; len(b) >= attrLen; {
		size, kind := int(le.Uint16(b)), le.Uint16(b[2:])
		if size < attrLen || size > len(b) {
			return info, errors.New("sock_diag: the kernel's answer has a bad attribute")
		}
		data := b[attrLen:size]
		switch {
		case kind == attrPeer && len(data) >= 4:
			info.peer = uint64(le.Uint32(data))
		case kind == attrName && len(data) >= 4:
			info.name = uint64(le.Uint32(data)) // as many bits as the kernel tells
		case kind == attrShutdown && len(data) >= 1:
			info.shutdown = int(data[0])
		}
		b = b[min(len(b), (size+3)&^3):]
	}
	return info, nil
}
