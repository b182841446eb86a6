package nat

import (
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// last is the highest address of a network.
func last(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// TestBordersOfTheForbiddenRanges: the first and the last address of each range are forbidden, the neighbours are
// judged by what they are themselves.
func TestBordersOfTheForbiddenRanges(t *testing.T) {
	r := DestinationRules{Side: Outside, Bind: addr("203.0.113.10"), Own: ownAddrs}
	inSome := func(a netip.Addr) bool {
		return a.IsLoopback() || a.IsUnspecified() ||
			slices.ContainsFunc(special[:], func(s struct {
				prefix netip.Prefix
				why    string
			}) bool {
				return s.prefix.Contains(a)
			})
	}
	for _, s := range special {
		if s.prefix.Masked() != s.prefix {
			t.Errorf("%v has host bits", s.prefix)
		}
		for _, a := range []netip.Addr{s.prefix.Addr(), last(s.prefix)} {
			if why, bad := ForbiddenDestination(a, r); !bad || why == "" {
				t.Errorf("%v of %v is allowed", a, s.prefix)
			}
		}
		for _, a := range []netip.Addr{s.prefix.Addr().Prev(), last(s.prefix).Next()} {
			if !a.IsValid() {
				continue // the end of the address space
			}
			if why, bad := ForbiddenDestination(a, r); bad != inSome(a) {
				t.Errorf("%v beside %v: %q", a, s.prefix, why)
			}
		}
	}
}

// TestOwnIsJudgedBySide: from outside every address of ours is forbidden; from inside those that are ours inside are
// not; who is not ours is nowhere.
func TestOwnIsJudgedBySide(t *testing.T) {
	pool := []netip.Addr{addr("203.0.113.10"), addr("203.0.113.11"), addr("10.0.0.2"), addr("10.0.0.3"), addr("2001:db8::10"), addr("::ffff:192.0.2.9")}
	rapid.Check(t, func(t *rapid.T) {
		var own [2][]netip.Addr
		for side := range own {
			own[side] = rapid.SliceOfNDistinct(rapid.SampledFrom(pool), 0, 4, rapid.ID[netip.Addr]).Draw(t, "own")
		}
		a := rapid.SampledFrom(pool).Draw(t, "address").Unmap()
		ours := func(side Side) bool {
			return slices.ContainsFunc(own[side], func(x netip.Addr) bool { return x.Unmap() == a })
		}
		_, outside := ForbiddenDestination(a, DestinationRules{Side: Outside, Bind: pool[0], Own: own})
		_, inside := ForbiddenDestination(a, DestinationRules{Side: Inside, Bind: pool[2], Own: own})
		if outside != (ours(Outside) || ours(Inside)) || inside != (ours(Outside) && !ours(Inside)) {
			t.Fatalf("%v of %v: outside %v, inside %v", a, own, outside, inside)
		}
	})
}

// TestAdvertiseTellsOneOfTwo: a peer is told the bound or the advertised address, and the same one for signalling and
// media.
func TestAdvertiseTellsOneOfTwo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		any4 := rapid.Custom(func(t *rapid.T) netip.Addr {
			return netip.AddrFrom4([4]byte{rapid.SampledFrom([]byte{10, 127, 192, 203}).Draw(t, "a"), 168, 0, rapid.ByteRange(1, 3).Draw(t, "d")})
		})
		bind, told, remote := any4.Draw(t, "bind"), any4.Draw(t, "advertised"), any4.Draw(t, "remote")
		internal := NewRanges(prefixes("10.0.0.0/8", "192.168.0.0/16")...)
		i := &Interface{Bind: netip.AddrPortFrom(bind, 5060), Advertised: netip.AddrPortFrom(told, 5060)}
		got := Advertise(i, remote, internal)
		want := i.Advertised
		if internal.Contains(remote) || bind.IsLoopback() && remote.IsLoopback() {
			want = i.Bind
		}
		if got != want || AdvertiseMedia(bind, told, remote, internal) != want.Addr() {
			t.Fatalf("%v behind %v told %v, want %v", remote, i, got, want)
		}
	})
}

// FuzzForbiddenDestination: no spelling that the address parser takes gets an address of this machine or its link
// through, and the answer does not depend on how the address is spelt.
func FuzzForbiddenDestination(f *testing.F) {
	for _, s := range []string{"127.0.0.1", "::1", "::ffff:127.0.0.1", "::ffff:7f00:1", "fe80::1%eth0", "2002:7f00:1::", "64:ff9b::a9fe:a9fe", "0.0.0.0", "203.0.113.20"} {
		f.Add(s)
	}
	r := DestinationRules{Side: Outside, Bind: addr("203.0.113.10"), Own: ownAddrs}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return
		}
		why, bad := ForbiddenDestination(a, r)
		if bad != (why != "") {
			t.Fatalf("%s: %v %q", s, bad, why)
		}
		u := a.Unmap()
		if !bad && (u.IsLoopback() || u.IsMulticast() || u.IsUnspecified() || u.IsLinkLocalUnicast() || u.Zone() != "") {
			t.Fatalf("%s is allowed", s)
		}
		if again, _ := ForbiddenDestination(u, r); again != why {
			t.Fatalf("%s: %q, but %q as %v", s, why, again, u)
		}
		if u.Is4() {
			return
		}
		if _, twice := ForbiddenDestination(netip.MustParseAddr(a.StringExpanded()), r); twice != bad {
			t.Fatalf("%s written out is judged otherwise", s)
		}
	})
}

func TestPrivate(t *testing.T) {
	for s, want := range map[string]bool{
		"10.0.0.0": true, "10.255.255.255": true, "11.0.0.0": false, "9.255.255.255": false,
		"172.15.255.255": false, "172.16.0.0": true, "172.31.255.255": true, "172.32.0.0": false,
		"192.167.255.255": false, "192.168.0.0": true, "192.168.255.255": true, "192.169.0.0": false,
		"100.63.255.255": false, "100.64.0.0": true, "100.127.255.255": true, "100.128.0.0": false,
		"fbff::": false, "fc00::": true, "fdff:ffff::1": true, "fe00::": false, "2001:db8::1": false,
		"::ffff:10.0.0.1": true, "::ffff:203.0.113.1": false, "127.0.0.1": false, "169.254.1.1": false,
	} {
		if got := Private(addr(s)); got != want {
			t.Errorf("%s: %v", s, got)
		}
	}
	if Private(netip.Addr{}) {
		t.Error("no address is not private")
	}
}

// TestUnroutableIsAlien: what cannot be meant for us without a latch is no destination with one either.
func TestUnroutableIsAlien(t *testing.T) {
	internal := NewRanges(prefixes("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")...)
	pool := []string{"10.0.0.1", "10.0.0.2", "192.168.1.1", "100.64.0.1", "203.0.113.1", "203.0.113.2", "2001:db8::1", "fd00::1", "::ffff:203.0.113.1"}
	for _, a := range pool {
		for _, s := range pool {
			if Unroutable(addr(a), addr(s), internal) && !Alien(addr(a), addr(s), internal) {
				t.Errorf("%s told by %s", a, s)
			}
			if a == s && Alien(addr(a), addr(s), internal) {
				t.Errorf("%s told by itself", a)
			}
		}
	}
}
