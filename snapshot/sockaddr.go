package snapshot

import "net/netip"

// AddrPort reads a struct sockaddr_in or sockaddr_in6 (ip(7), ipv6(7)). An IPv4 address
// in IPv6's clothes is the IPv4 one. What is neither gives the zero AddrPort.
func AddrPort(sockaddr []byte) netip.AddrPort {
	const (
		inet, inet6    = 2, 10 // AF_INET, AF_INET6
		port           = 2     // offsets
		addr4, addr6   = 4, 8
		least4, least6 = 8, 24
	)
	switch b := sockaddr; {
	case len(b) >= least4 && b[0] == inet:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[addr4:least4])), uint16(b[port])<<8|uint16(b[port+1]))
	case len(b) >= least6 && b[0] == inet6:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[addr6:least6])).Unmap(), uint16(b[port])<<8|uint16(b[port+1]))
	}
	return netip.AddrPort{}
}

// Serves tells whether a socket that is bound to one address gets what is sent to
// another: to its own, or to any address with its port.
func Serves(bound, to netip.AddrPort) bool {
	return bound.IsValid() && bound.Port() == to.Port() && (bound.Addr() == to.Addr() || bound.Addr().IsUnspecified())
}
