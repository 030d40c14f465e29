package snapshot

import (
	"net/netip"
	"testing"
)

func TestAddrPort(t *testing.T) {
	v4 := []byte{2, 0, 0x1f, 0x90, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0}
	v6 := make([]byte, 28)
	v6[0], v6[2], v6[3], v6[23] = 10, 0x1f, 0x90, 1
	mapped := make([]byte, 28)
	copy(mapped, []byte{10, 0, 0x1f, 0x90})
	copy(mapped[18:], []byte{0xff, 0xff, 127, 0, 0, 1})
	for name, c := range map[string]struct {
		in   []byte
		want string
	}{
		"IPv4": {v4, "127.0.0.1:8080"}, "IPv6": {v6, "[::1]:8080"}, "IPv4 in IPv6": {mapped, "127.0.0.1:8080"},
	} {
		if got := AddrPort(c.in); got != netip.MustParseAddrPort(c.want) {
			t.Errorf("%s: %v, want %s", name, got, c.want)
		}
		for n := range 8 {
			if got := AddrPort(c.in[:n]); got.IsValid() {
				t.Errorf("%s cut to %d bytes: %v", name, n, got)
			}
		}
	}
	if got := AddrPort([]byte("\x01\x00/tmp/socket/in/the/file/system")); got.IsValid() {
		t.Errorf("a unix address: %v", got)
	}
}
