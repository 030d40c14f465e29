package snapshot

import "fmt"

// Datagram is a message that a datagram socket has received and the program has
// not read.
type Datagram struct {
	From []byte `json:"from,omitempty"` // struct sockaddr of the sender; empty: it had no name
	Data []byte `json:"data,omitempty"`
	// Rights are the descriptions that are in flight with it (Manifest.Descriptions);
	// only unix sockets have any.
	Rights []int `json:"rights,omitempty"`
}

// maxDatagram is more than a datagram can have, in bytes.
const maxDatagram = 1 << 26

// check validates a datagram.
func (d *Datagram) check(v *validator) error {
	if len(d.From) > maxSockaddr || len(d.Data) > maxDatagram {
		return fmt.Errorf("a datagram of %d bytes, from an address of %d", len(d.Data), len(d.From))
	}
	return v.flying(d.Rights)
}
