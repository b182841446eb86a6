package trunk

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"sallyport/nat"
	"sallyport/sbc/tu"
)

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// hop is an address of a system.
func hop(system, at string, priority, weight int) Hop {
	return Hop{
		Hop: tu.Hop{
			ID: system + " " + at, Peer: &tu.Peer{Name: system + "/" + at},
			Flow: nat.Flow{Interface: 1, Remote: netip.MustParseAddrPort(at)},
		},
		Priority: priority, Weight: weight,
	}
}

func outside(name string, sources []string, hops ...Hop) System {
	s := System{Name: name, Kind: tu.KindTrunk, Side: nat.Outside, Realm: nat.Trunks, Hops: hops, Any: &tu.Peer{Name: name}}
	for _, p := range sources {
		s.Sources = append(s.Sources, prefix(p))
	}
	return s
}

func house() []System {
	phones := System{
		Name: "phones", Kind: tu.KindNode, Side: nat.Inside, Realm: nat.Phones, Any: &tu.Peer{Name: "phones"},
		Hops: []Hop{hop("phones", "10.0.0.10:5060", 1, 1)},
	}
	pbx := System{
		Name: "pbx", Kind: tu.KindNode, Side: nat.Inside, Realm: nat.Trunks, Any: &tu.Peer{Name: "pbx"},
		Hops:    []Hop{hop("pbx", "10.0.0.10:5060", 1, 1), hop("pbx", "10.0.0.11:5060", 2, 1)},
		Sources: []netip.Prefix{prefix("10.0.1.0/24")},
	}
	return []System{
		phones, pbx,
		outside("wide", []string{"198.51.100.0/24"}, hop("wide", "203.0.113.20:5060", 1, 1)),
		outside("narrow", []string{"198.51.100.64/26", "2001:db8::/48"}, hop("narrow", "203.0.113.30:5060", 1, 1), hop("narrow", "203.0.113.31:5080", 1, 1)),
		outside("late", []string{"198.51.100.0/24"}, hop("late", "198.51.100.99:5060", 1, 1), hop("late", "203.0.113.20:5080", 1, 1)),
	}
}

func TestIdentify(t *testing.T) {
	b := NewBook(house(), nil)
	for _, tt := range []struct {
		name   string
		side   nat.Side
		realm  nat.Realm
		source string
		want   string
	}{
		{"a hop's address", nat.Outside, nat.Trunks, "203.0.113.31", "narrow/203.0.113.31:5080"},
		{"in IPv6 clothes", nat.Outside, nat.Trunks, "::ffff:203.0.113.31", "narrow/203.0.113.31:5080"},
		{"a hop of two systems is the first one's", nat.Outside, nat.Trunks, "203.0.113.20", "wide/203.0.113.20:5060"},
		{"a source range", nat.Outside, nat.Trunks, "198.51.100.1", "wide"},
		{"the narrower range counts", nat.Outside, nat.Trunks, "198.51.100.70", "narrow"},
		{"a hop counts before any range", nat.Outside, nat.Trunks, "198.51.100.99", "late/198.51.100.99:5060"},
		{"IPv6", nat.Outside, nat.Trunks, "2001:db8::7", "narrow"},
		{"a zone changes nothing", nat.Outside, nat.Trunks, "2001:db8::7%eth0", "narrow"},
		{"the realm's own", nat.Inside, nat.Phones, "10.0.0.10", "phones/10.0.0.10:5060"},
		{"the same in the other realm", nat.Inside, nat.Trunks, "10.0.0.10", "pbx/10.0.0.10:5060"},
		{"known in the other realm only", nat.Inside, nat.Phones, "10.0.0.11", "pbx/10.0.0.11:5060"},
		{"a further source of the PBX", nat.Inside, nat.Trunks, "10.0.1.9", "pbx"},
		{"a stranger", nat.Outside, nat.Trunks, "203.0.113.66", ""},
		{"a trunk's address inside", nat.Inside, nat.Trunks, "203.0.113.20", ""},
		{"the PBX's address outside", nat.Outside, nat.Trunks, "10.0.0.10", ""},
		{"IPv4 within the IPv6 range's bits", nat.Outside, nat.Trunks, "32.1.13.184", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			if p := b.Identify(tt.side, tt.realm, netip.MustParseAddr(tt.source)); p != nil {
				got = p.Name
			}
			if got != tt.want {
				t.Errorf("%s is %q, want %q", tt.source, got, tt.want)
			}
		})
	}
	if b.Identify(nat.Outside, nat.Trunks, netip.Addr{}) != nil {
		t.Error("no address is nobody")
	}
}

func TestSame(t *testing.T) {
	b := NewBook(house(), nil)
	for _, tt := range []struct {
		side nat.Side
		x, y string
		want bool
	}{
		{nat.Outside, "203.0.113.30", "203.0.113.31", true},
		{nat.Outside, "203.0.113.30", "::ffff:203.0.113.31", true},
		{nat.Outside, "203.0.113.30", "198.51.100.70", true},  // a hop and a source of one system
		{nat.Outside, "198.51.100.99", "198.51.100.1", true},  // both are sources of "wide" and "late"
		{nat.Outside, "198.51.100.99", "203.0.113.20", true},  // the system need not be the one that Identify names
		{nat.Outside, "203.0.113.20", "203.0.113.30", false},  // two trunks
		{nat.Outside, "203.0.113.20", "203.0.113.66", false},  // a stranger
		{nat.Outside, "203.0.113.66", "203.0.113.66", false},  // nor is a stranger the system of itself
		{nat.Outside, "2001:db8::1", "203.0.113.30", true},    // families may differ
		{nat.Outside, "2001:db8:1::1", "203.0.113.30", false}, // beyond the range
		{nat.Inside, "10.0.0.10", "10.0.0.11", true},
		{nat.Inside, "10.0.0.11", "10.0.1.1", true},
		{nat.Outside, "10.0.0.10", "10.0.0.11", false},
	} {
		x, y := netip.MustParseAddr(tt.x), netip.MustParseAddr(tt.y)
		if got := b.Same(tt.side, x, y); got != tt.want || b.Same(tt.side, y, x) != got {
			t.Errorf("%v %s %s: %v", tt.side, tt.x, tt.y, got)
		}
	}
	if b.Same(nat.Outside, netip.Addr{}, netip.Addr{}) {
		t.Error("no address is no system")
	}
}

// naive is Identify and Same as one would say them.
type naive []System

func (n naive) named(s *System, a netip.Addr) (bits int, p *tu.Peer) {
	bits = -1
	for i := range s.Hops {
		if s.Hops[i].Flow.Remote.Addr() == a {
			return a.BitLen() + 1, s.Hops[i].Peer
		}
	}
	for _, x := range s.Sources {
		if x.Contains(a) && x.Bits() > bits {
			bits, p = x.Bits(), s.Any
		}
	}
	return bits, p
}

func (n naive) identify(side nat.Side, realm nat.Realm, a netip.Addr) (best *tu.Peer) {
	for _, r := range []nat.Realm{realm, 1 - realm} {
		most := -1
		for i := range n {
			if bits, p := n.named(&n[i], a); n[i].Side == side && n[i].Realm == r && bits > most {
				most, best = bits, p
			}
		}
		if best != nil {
			return best
		}
	}
	return nil
}

func (n naive) same(side nat.Side, x, y netip.Addr) bool {
	return slices.ContainsFunc(n, func(s System) bool {
		_, p := n.named(&s, x)
		_, q := n.named(&s, y)
		return s.Side == side && p != nil && q != nil
	})
}

func TestDirectoryAgreesWithTheNaive(t *testing.T) {
	address := rapid.Custom(func(t *rapid.T) netip.Addr {
		return netip.AddrFrom4([4]byte{10, 0, rapid.ByteRange(0, 2).Draw(t, "c"), rapid.ByteRange(0, 7).Draw(t, "d")})
	})
	rapid.Check(t, func(t *rapid.T) {
		var systems naive
		for i := range rapid.IntRange(0, 6).Draw(t, "systems") {
			s := System{
				Name: fmt.Sprint(i), Side: nat.Side(rapid.IntRange(0, 1).Draw(t, "side")), Any: &tu.Peer{Name: fmt.Sprint("any", i)},
				Realm: nat.Realm(rapid.IntRange(0, 1).Draw(t, "realm")),
			}
			for range rapid.IntRange(0, 3).Draw(t, "hops") {
				s.Hops = append(s.Hops, hop(s.Name, netip.AddrPortFrom(address.Draw(t, "hop"), 5060).String(), 1, 1))
			}
			for range rapid.IntRange(0, 3).Draw(t, "sources") {
				p := netip.PrefixFrom(address.Draw(t, "source"), rapid.SampledFrom([]int{8, 22, 24, 29, 31, 32}).Draw(t, "bits"))
				s.Sources = append(s.Sources, p.Masked())
			}
			systems = append(systems, s)
		}
		b := NewBook(systems, nil)
		for range 10 {
			x, y := address.Draw(t, "x"), address.Draw(t, "y")
			for side := range nat.Side(2) {
				for realm := range nat.Realm(2) {
					if got, want := b.Identify(side, realm, x), systems.identify(side, realm, x); !samePeer(got, want) {
						t.Fatalf("%v/%v %v: %v, want %v", side, realm, x, got, want)
					}
				}
				if got, want := b.Same(side, x, y), systems.same(side, x, y); got != want {
					t.Fatalf("%v %v %v: %v, want %v", side, x, y, got, want)
				}
			}
		}
	})
}

// many is a book of n trunks with four addresses and a range each.
func many(n int) []System {
	systems := make([]System, n)
	for i := range systems {
		name := fmt.Sprint("trunk", i)
		var hops []Hop
		for j := range 4 {
			hops = append(hops, hop(name, fmt.Sprintf("203.%d.%d.%d:5060", i>>8, i&255, j+1), 1, 1))
		}
		systems[i] = outside(name, []string{fmt.Sprintf("198.%d.%d.0/24", i>>8, i&255)}, hops...)
	}
	return systems
}

func TestIdentifyDoesNotAllocate(t *testing.T) {
	b := NewBook(many(100), nil)
	x, y, stranger := netip.MustParseAddr("203.0.50.1"), netip.MustParseAddr("198.0.50.9"), netip.MustParseAddr("192.0.2.1")
	if n := testing.AllocsPerRun(100, func() {
		b.Identify(nat.Outside, nat.Trunks, x)
		b.Identify(nat.Outside, nat.Trunks, stranger)
		b.Available(tu.KindTrunk)
		b.Report("nobody", Up)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if !b.Same(nat.Outside, x, y) {
		t.Error("one trunk")
	}
}

func BenchmarkIdentifyOfAThousandTrunks(b *testing.B) {
	book := NewBook(many(1000), nil)
	x, stranger := netip.MustParseAddr("203.3.200.1"), netip.MustParseAddr("192.0.2.1")
	b.ReportAllocs()
	for b.Loop() {
		book.Identify(nat.Outside, nat.Trunks, x)
		book.Identify(nat.Outside, nat.Trunks, stranger)
	}
}

func BenchmarkSameOfAThousandTrunks(b *testing.B) {
	book := NewBook(many(1000), nil)
	x, y := netip.MustParseAddr("203.3.200.1"), netip.MustParseAddr("198.3.200.77")
	b.ReportAllocs()
	for b.Loop() {
		if !book.Same(nat.Outside, x, y) {
			b.Fatal("not the same")
		}
	}
}
