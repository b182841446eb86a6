package sbc

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sallyport/nat"
	"sallyport/sbc/call"
	"sallyport/sbc/config"
	"sallyport/sbc/trunk"
	"sallyport/sbc/tu"
)

// manyTrunks is a configuration of so many trunks, which register, each seen by its registrar at a port of its own.
func manyTrunks(n int) *config.Snapshot {
	s := &config.Snapshot{}
	add := func(id uint16, side nat.Side, realm nat.Realm, at string) {
		bind := netip.MustParseAddrPort(at)
		s.Interfaces = append(s.Interfaces, nat.Interface{ID: id, Side: side, Realm: realm, Transport: nat.UDP, Bind: bind, Advertised: bind})
	}
	add(1, nat.Outside, nat.Phones, "203.0.113.10:5060")
	add(2, nat.Outside, nat.Trunks, "203.0.113.10:5080")
	add(3, nat.Inside, nat.Phones, "10.0.0.2:5060")
	add(4, nat.Inside, nat.Trunks, "10.0.0.2:5080")
	s.Internal = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	s.PBX.Domain = "example.com"
	s.PBX.Nodes = []config.Node{{Address: netip.MustParseAddrPort("10.0.0.10:5060"), Realms: [2]bool{true, true}}}
	for i := range n {
		at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18, byte(i / 250), byte(1 + i%250)}), 5060)
		s.Trunks = append(s.Trunks, config.Trunk{
			Name: fmt.Sprintf("trunk%04d", i), Peers: []config.Peer{{Address: at}}, Sources: []netip.Prefix{netip.PrefixFrom(at.Addr(), 32)},
			Registration: &config.TrunkRegistration{
				Domain: "p.example", Username: "u", ContactUser: fmt.Sprint("u", i), Targets: []config.Peer{{Address: at}},
				Seen: netip.AddrPortFrom(netip.MustParseAddr("198.51.100.7"), uint16(6000+i)),
			},
		})
	}
	return s
}

// TestManyTrunks: what a trunk costs does not depend on how many others there are.
func TestManyTrunks(t *testing.T) {
	const few, many = 100, 1000
	made := func(n int) (allocations float64, w *world) {
		s := manyTrunks(n)
		return testing.AllocsPerRun(1, func() { w = newWorld(s, nil, nil) }), w
	}
	a, _ := made(few)
	b, w := made(many)
	if b > a*(many/few)*1.2 {
		t.Errorf("a world of %d trunks takes %.0f allocations, one of %d %.0f", many, b, few, a)
	}
	for _, sys := range w.systems {
		if n := len(sys.Any.Never); n > 2*len(w.snap.Interfaces)+1 {
			t.Fatalf("%s: %d sockets where nothing is sent", sys.Name, n)
		}
	}
	x := &assembly{world: w, book: trunk.NewBook(w.systems, nil), sbc: &SBC{}}
	last := &w.snap.Trunks[many-1]
	from := nat.Flow{Interface: 2, Remote: last.Peers[0].Address}
	if n := testing.AllocsPerRun(100, func() { x.Identify(from) }); n > 0 {
		t.Errorf("a message costs %v allocations", n)
	}
	peer, here, _ := x.Identify(from)
	if peer == nil || peer.Name != last.Name || here.Signal != last.Registration.Seen {
		t.Errorf("%+v, seen as %v", peer, here.Signal)
	}
	nodes := 0
	for range x.book.Nodes {
		nodes++
	}
	if nodes != 2 {
		t.Errorf("%d systems are looked at for the PBX", nodes)
	}
}

// TestSwapAsksNoCall where nothing is gone: the calls of this assembly could not answer.
func TestSwapAsksNoCall(t *testing.T) {
	w := newWorld(manyTrunks(10), nil, nil)
	a := &assembly{world: w, calls: map[tu.UserID]*call.Call{1: nil}}
	if need := a.stillNeeded(w.guardPeers()); need != nil {
		t.Errorf("%v", need)
	}
	was := w.guardPeers()
	a.world, a.calls = newWorld(manyTrunks(9), nil, nil), nil
	if need := a.stillNeeded(was); len(need) != 0 {
		t.Errorf("%v, and no call runs", need)
	}
}

// TestWhereWeMayBeSeen is what a registrar may say of our address, and who has to do with it.
func TestWhereWeMayBeSeen(t *testing.T) {
	s := manyTrunks(3)
	s.PBX.Sources = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	s.Trunks[1].Sources = append(s.Trunks[1].Sources, netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("198.51.200.9/32"))
	tests := []struct{ at, why, hidden string }{
		{"198.51.100.7", "", ""}, // a NAT's; that it lies in a wide range of a provider's says nothing
		{"203.0.113.10", "", ""}, // our own
		{"10.0.0.10", "is the address of a node of the PBX", "is the address of a node of the PBX"},
		{"10.0.0.2", "is our own address inside", "is our own address inside"},
		{"10.9.9.9", "lies in internal_ranges", ""},
		{"192.0.2.5", "lies in pbx.sources", ""},
		{"198.18.0.1", "is the address of trunk trunk0000", "is the address of trunk trunk0000"},
		{"198.18.0.2", "is the address of trunk trunk0001", "is the address of trunk trunk0001"},
		{"198.51.200.9", "is the address of trunk trunk0001", "is the address of trunk trunk0001"},
		{"169.254.169.254", "is cloud metadata", "is cloud metadata"},
		{"127.0.0.1", "is loopback", "is loopback"},
		{"2001:db8::7", "is of a family that we do not have there", "is of a family that we do not have there"},
	}
	for _, tt := range tests {
		a := netip.MustParseAddr(tt.at)
		w := newWorld(s, nil, nil)
		if why := w.implausible(&w.snap.Trunks[0], a); why != tt.why {
			t.Errorf("%s: %q, want %q", tt.at, why, tt.why)
		}
		// Whoever stands in internal_ranges himself may have a NAT whose other side does, too.
		behind := *s
		behind.Interfaces = slices.Clone(s.Interfaces)
		behind.Interfaces[1].Bind = netip.MustParseAddrPort("10.1.1.1:5080")
		behind.Interfaces[1].Advertised = behind.Interfaces[1].Bind
		w = newWorld(&behind, nil, nil)
		if why := w.implausible(&w.snap.Trunks[0], a); why != tt.hidden {
			t.Errorf("%s, behind such a NAT: %q, want %q", tt.at, why, tt.hidden)
		}
	}
	s.Trunks[0].External = netip.MustParseAddr("198.51.200.9") // the administrator knows better
	if w := newWorld(s, nil, nil); w.implausible(&w.snap.Trunks[0], s.Trunks[0].External) != "" {
		t.Error("an address that is configured is ours")
	}
}

// TestSeenIsOfOneTrunk: what one registrar says of our address changes nothing for anybody else.
func TestSeenIsOfOneTrunk(t *testing.T) {
	plain := manyTrunks(3)
	for i := range plain.Trunks {
		plain.Trunks[i].Registration.Seen = netip.AddrPort{}
	}
	before := newWorld(plain, nil, nil)
	told := manyTrunks(3)
	told.Trunks[1].Registration.Seen, told.Trunks[2].Registration.Seen = netip.AddrPort{}, netip.MustParseAddrPort("10.0.0.10:5060") // a node
	seen := told.Trunks[0].Registration.Seen
	after := newWorld(told, nil, nil)
	for side := range before.calls.Destinations {
		if got, want := after.calls.Destinations[side].Own, before.calls.Destinations[side].Own; !slices.Equal(got[0], want[0]) || !slices.Equal(got[1], want[1]) {
			t.Errorf("media: %v, want %v", got, want)
		}
	}
	for i := range after.systems {
		got, want := after.systems[i].Any.Never, before.systems[i].Any.Never
		if name := after.systems[i].Name; name == "trunk0000" {
			want = append(slices.Clone(want), seen)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", after.systems[i].Name, got, want)
		}
	}
	if !slices.Equal(after.phone.Never, before.phone.Never) {
		t.Error(after.phone.Never)
	}
	if !cmp.Equal(before.leaks, after.leaks, cmp.Exporter(func(reflect.Type) bool { return true })) {
		t.Error("the leak guard knows it")
	}
	if r := after.snap.Trunks[2].Registration; r.Seen.IsValid() || told.Trunks[2].Registration.Seen == r.Seen {
		t.Error("a node's address is not believed, and the configuration stays as it was")
	}
	for id, at := range map[string]netip.AddrPort{"trunk0000": seen, "trunk0001": after.interfaces[2].Advertised, "trunk0002": after.interfaces[2].Advertised} {
		if got := after.registrations[id].Hops[0].Here.Signal; got != at {
			t.Errorf("%s is told %v, want %v", id, got, at)
		}
	}
}

// TestNodesOfBefore: bindings that were kept name nodes without their transport.
func TestNodesOfBefore(t *testing.T) {
	s := manyTrunks(0)
	face := s.Interfaces[2]
	face.ID, face.Transport = 5, nat.TCP
	s.Interfaces = append(s.Interfaces, face)
	s.PBX.Nodes = append(s.PBX.Nodes, config.Node{Address: netip.MustParseAddrPort("10.0.0.11:5060"), Transport: nat.TCP, Realms: [2]bool{true, false}})
	w := newWorld(s, nil, nil)
	for kept, want := range map[string]string{
		"pbx 10.0.0.10:5060": "pbx 10.0.0.10:5060", "pbx 10.0.0.11:5060": "pbx 10.0.0.11:5060/tcp", "pbx 10.0.0.11:5060/tcp": "pbx 10.0.0.11:5060/tcp",
		"pbx 10.0.0.12:5060": "pbx 10.0.0.12:5060", "": "",
	} {
		if got := w.nodeID(kept); got != want {
			t.Errorf("%q: %q, want %q", kept, got, want)
		}
	}
}

func BenchmarkIdentify(b *testing.B) {
	for _, n := range []int{10, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w := newWorld(manyTrunks(n), nil, nil)
			a := &assembly{world: w, book: trunk.NewBook(w.systems, nil), sbc: &SBC{}}
			from := nat.Flow{Interface: 2, Remote: w.snap.Trunks[n-1].Peers[0].Address}
			b.ReportAllocs()
			for b.Loop() {
				a.Identify(from)
			}
		})
	}
}

func BenchmarkNewWorld(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := manyTrunks(n)
			b.ReportAllocs()
			for b.Loop() {
				newWorld(s, nil, nil)
			}
		})
	}
}
