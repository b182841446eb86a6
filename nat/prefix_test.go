package nat

import (
	"net/netip"
	"testing"
)

func TestLastOf(t *testing.T) {
	for prefix, want := range map[string]string{
		"192.0.2.0/24": "192.0.2.255", "192.0.2.7/32": "192.0.2.7", "0.0.0.0/0": "255.255.255.255", "10.0.0.8/29": "10.0.0.15",
		"2001:db8::/32": "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "::/0": "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db8::1/128": "2001:db8::1",
	} {
		if got := LastOf(netip.MustParsePrefix(prefix)); got != netip.MustParseAddr(want) {
			t.Errorf("%s ends at %s, want %s", prefix, got, want)
		}
	}
}
