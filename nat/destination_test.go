package nat

import (
	"net/netip"
	"testing"

	"pgregory.net/rapid"
)

var ownAddrs = [2][]netip.Addr{
	Outside: {addr("203.0.113.10"), addr("198.51.100.5"), addr("2001:db8::10")},
	Inside:  {addr("10.0.0.2")},
}

// destinations are addresses and why they are forbidden from outside and from inside; empty: they are not.
var destinations = []struct {
	a                string
	whyOut, whyInner string // empty: allowed
}{
	{"203.0.113.20", "", ""},
	{"192.168.1.34", "", ""}, // private is alien, not forbidden
	{"100.64.3.4", "", ""},
	{"2001:db8:20::5", "", ""},
	{"fd00:10::10", "", ""},
	{"10.0.0.10", "", ""},
	{"127.0.0.1", "loopback", "loopback"},
	{"127.255.0.9", "loopback", "loopback"},
	{"::1", "loopback", "loopback"},
	{"::ffff:127.0.0.1", "loopback", "loopback"},
	{"64:ff9b::127.0.0.1", "loopback", "loopback"},
	{"2002:7f00:1::", "loopback", "loopback"},
	{"0.0.0.0", "unspecified", "unspecified"},
	{"::", "unspecified", "unspecified"},
	{"::ffff:0.0.0.0", "unspecified", "unspecified"},
	{"0.1.2.3", "this network", "this network"},
	{"169.254.1.1", "link-local", "link-local"},
	{"169.254.169.254", "cloud metadata", "cloud metadata"},
	{"::ffff:169.254.169.254", "cloud metadata", "cloud metadata"},
	{"64:ff9b::169.254.169.254", "cloud metadata", "cloud metadata"},
	{"100.100.100.200", "cloud metadata", "cloud metadata"},
	{"fd00:ec2::254", "cloud metadata", "cloud metadata"},
	{"168.63.129.16", "cloud metadata", "cloud metadata"},
	{"fe80::1", "link-local", "link-local"},
	{"fe80::1%eth0", "an address of one link", "an address of one link"},
	{"2001:db8::1%eth0", "an address of one link", "an address of one link"},
	{"fec0::1", "site-local", "site-local"},
	{"224.0.0.1", "multicast", "multicast"},
	{"239.255.255.250", "multicast", "multicast"},
	{"ff02::1", "multicast", "multicast"},
	{"255.255.255.255", "broadcast", "broadcast"},
	{"240.0.0.1", "reserved", "reserved"},
	{"::10.0.0.10", "an IPv4 address in the deprecated IPv6 form", "an IPv4 address in the deprecated IPv6 form"},
	{"::ffff:0:10.0.0.10", "an IPv4 address in translated form", "an IPv4 address in translated form"},
	{"100::1", "discard-only", "discard-only"},
	{"203.0.113.10", "our own address", "our own address"},
	{"198.51.100.5", "our own address", "our own address"},
	{"2001:db8::10", "our own address", "our own address"},
	{"::ffff:203.0.113.10", "our own address", "our own address"},
	{"64:ff9b::203.0.113.10", "our own address", "our own address"},
	{"10.0.0.2", "our own address", ""}, // inside it may be a hairpin: the relay judges by port
}

func TestForbiddenDestination(t *testing.T) {
	outside := DestinationRules{Side: Outside, Bind: addr("203.0.113.10"), Own: ownAddrs}
	inside := DestinationRules{Side: Inside, Bind: addr("10.0.0.2"), Own: ownAddrs}
	for _, tt := range destinations {
		for _, r := range []DestinationRules{outside, inside} {
			want := tt.whyOut
			if r.Side == Inside {
				want = tt.whyInner
			}
			if why, bad := ForbiddenDestination(addr(tt.a), r); why != want || bad != (want != "") {
				t.Errorf("%s from %v: %q %v, want %q", tt.a, r.Side, why, bad, want)
			}
		}
	}
	if why, bad := ForbiddenDestination(netip.Addr{}, outside); !bad || why == "" {
		t.Error("no address is no destination")
	}
}

func TestLoopbackSides(t *testing.T) {
	own := [2][]netip.Addr{Outside: {addr("127.0.0.1")}, Inside: {addr("127.0.0.1"), addr("127.0.0.2")}}
	demo := DestinationRules{Side: Outside, Bind: addr("127.0.0.1"), Own: own}
	for _, s := range []string{"127.0.0.1", "127.0.0.2", "127.9.9.9", "::1", "::ffff:127.0.0.1"} {
		if why, bad := ForbiddenDestination(addr(s), demo); bad {
			t.Errorf("%s on a loopback side: %s", s, why)
		}
	}
	if _, bad := ForbiddenDestination(addr("169.254.169.254"), demo); !bad {
		t.Error("the rest stays forbidden")
	}
	// The PBX is on this machine, the outside is the Internet.
	mixed := DestinationRules{Side: Outside, Bind: addr("203.0.113.10"), Own: own}
	if _, bad := ForbiddenDestination(addr("127.0.0.2"), mixed); !bad {
		t.Error("loopback is legitimate on the side that is bound to it, and nowhere else")
	}
	one := [2][]netip.Addr{Outside: {addr("203.0.113.10")}, Inside: {addr("203.0.113.10")}}
	if why, bad := ForbiddenDestination(addr("203.0.113.10"), DestinationRules{Side: Inside, Bind: addr("203.0.113.10"), Own: one}); bad {
		t.Errorf("one address for both sides, seen from inside: %s", why)
	}
	if _, bad := ForbiddenDestination(addr("203.0.113.10"), DestinationRules{Side: Outside, Bind: addr("203.0.113.10"), Own: one}); !bad {
		t.Error("one address for both sides, seen from outside")
	}
}

// TestEverySpellingOfAForbiddenAddress: an IPv4 address that is forbidden is forbidden in each of its IPv6 forms.
func TestEverySpellingOfAForbiddenAddress(t *testing.T) {
	r := DestinationRules{Side: Outside, Bind: addr("203.0.113.10"), Own: ownAddrs}
	rapid.Check(t, func(t *rapid.T) {
		b := [4]byte{
			rapid.SampledFrom([]byte{0, 10, 127, 169, 192, 198, 203, 224, 240, 255}).Draw(t, "a"), rapid.Byte().Draw(t, "b"),
			rapid.Byte().Draw(t, "c"), rapid.Byte().Draw(t, "d"),
		}
		if rapid.Bool().Draw(t, "link-local") {
			b[0], b[1] = 169, 254
		}
		a := netip.AddrFrom4(b)
		_, bad := ForbiddenDestination(a, r)
		mapped := netip.AddrFrom16(a.As16())
		translated := [16]byte{0: 0, 1: 0x64, 2: 0xff, 3: 0x9b, 12: b[0], 13: b[1], 14: b[2], 15: b[3]}
		sixto4 := [16]byte{0: 0x20, 1: 0x02, 2: b[0], 3: b[1], 4: b[2], 5: b[3], 15: 1}
		for _, form := range []netip.Addr{mapped, netip.AddrFrom16(translated), netip.AddrFrom16(sixto4)} {
			if _, got := ForbiddenDestination(form, r); got != bad {
				t.Fatalf("%v: %v, %v: %v", a, bad, form, got)
			}
		}
	})
	if n := testing.AllocsPerRun(100, func() { ForbiddenDestination(addr4, r) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestAlien(t *testing.T) {
	internal := NewRanges(prefixes("10.0.0.0/8", "203.0.113.128/25")...)
	tests := []struct {
		name, addr, source string
		alien, unroutable  bool
	}{
		{"phone that knows its public address", "198.51.100.7", "198.51.100.7", false, false},
		{"the same in IPv6 clothes", "::ffff:198.51.100.7", "198.51.100.7", false, false},
		{"phone behind a NAT", "192.168.1.34", "198.51.100.7", true, true},
		{"carrier NAT", "100.64.9.9", "198.51.100.7", true, true},
		{"our own network", "10.0.0.10", "198.51.100.7", true, true},
		{"a public range that we call internal", "203.0.113.130", "198.51.100.7", true, true},
		{"unique local", "fd00::1", "2001:db8::7", true, true},
		{"media gateway of a provider", "203.0.113.21", "203.0.113.20", true, false},
		{"provider in a private network", "10.50.0.2", "10.50.0.1", true, false},
		{"the same host", "10.50.0.1", "10.50.0.1", false, false},
		{"IPv6 media, IPv4 signalling", "2001:db8::7", "198.51.100.7", true, false},
	}
	for _, tt := range tests {
		a, s := addr(tt.addr), addr(tt.source)
		if Alien(a, s, internal) != tt.alien || Unroutable(a, s, internal) != tt.unroutable {
			t.Errorf("%s: alien %v, unroutable %v", tt.name, Alien(a, s, internal), Unroutable(a, s, internal))
		}
	}
}
