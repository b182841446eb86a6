package silence

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sallyport/nat"
	"sallyport/sbc/trunk"
	"sallyport/sbc/tu"
)

// inside has the interfaces of a PBX's side: 2 and 3 of the realm of phones by UDP and TCP, 4 and 5 of that of trunks.
var inside = map[uint16]*nat.Interface{}

func init() {
	for i, f := range []nat.Interface{
		{Realm: nat.Phones}, {Realm: nat.Phones, Transport: nat.TCP}, {Realm: nat.Trunks}, {Realm: nat.Trunks, Transport: nat.TCP},
	} {
		f.ID, f.Side = uint16(2+i), nat.Inside
		inside[f.ID] = &f
	}
}

func interfaceOf(realm nat.Realm, t nat.Transport) uint16 {
	id := uint16(2)
	if realm == nat.Trunks {
		id += 2
	}
	if t == nat.TCP {
		id++
	}
	return id
}

// spec is a node: "tcp 10.0.0.10:5060", by UDP where none is named, behind "phones" or "trunks" where it is not for both.
func spec(t interface{ Fatal(...any) }, s string) (tr nat.Transport, at netip.AddrPort, realms [2]bool) {
	realms = [2]bool{true, true}
	for _, w := range strings.Fields(s) {
		switch w {
		case "tcp":
			tr = nat.TCP
		case "phones":
			realms = [2]bool{true, false}
		case "trunks":
			realms = [2]bool{false, true}
		default:
			var err error
			if at, err = netip.ParseAddrPort(w); err != nil {
				t.Fatal(err)
			}
		}
	}
	return tr, at, realms
}

// pbx makes a book of nodes, three misses in a row down, two answers up, after the one before it.
func pbx(t interface{ Fatal(...any) }, before *trunk.Book, specs ...string) *trunk.Book {
	systems := []trunk.System{
		{Name: "pbx", Kind: tu.KindNode, Side: nat.Inside, Realm: nat.Trunks},
		{Name: "pbx for phones", Kind: tu.KindNode, Side: nat.Inside, Realm: nat.Phones},
	}
	for _, s := range specs {
		tr, at, realms := spec(t, s)
		for i := range systems {
			sys := &systems[i]
			if !realms[sys.Realm] {
				continue
			}
			sys.Hops = append(sys.Hops, trunk.Hop{Hop: tu.Hop{
				ID: trunk.HopID("pbx", at, tr), Peer: &tu.Peer{Kind: tu.KindNode, Realm: sys.Realm, Name: at.String()},
				Flow: nat.Flow{Interface: interfaceOf(sys.Realm, tr), Transport: tr, Remote: at},
			}})
		}
	}
	return trunk.NewBook(systems, before)
}

// flow reads "tcp 10.0.0.10:41000 conn" as seen by a realm's interface.
func flow(t interface{ Fatal(...any) }, realm nat.Realm, s string) nat.Flow {
	head, made := strings.CutSuffix(s, " conn")
	tr, at, _ := spec(t, head)
	f := nat.Flow{Interface: interfaceOf(realm, tr), Transport: tr, Remote: at}
	if made {
		f.Conn = 7
	}
	return f
}

func idOf(h *trunk.Hop) string {
	if h == nil {
		return ""
	}
	return strings.TrimPrefix(h.ID, "pbx ")
}

// TestDoors: the rule, step by step, for what leaves and for what comes.
func TestDoors(t *testing.T) {
	const a, b = "10.0.0.10:5060", "10.0.0.11:5060"
	for _, tt := range []struct {
		name  string
		nodes []string
		realm nat.Realm
		flow  string
		to    string
		from  string
	}{
		{"where it listens", []string{a, b}, nat.Trunks, a, a, a},
		{"a stranger", []string{a, b}, nat.Trunks, "10.0.0.12:5060", "", ""},
		{"no nodes", nil, nat.Phones, a, "", ""},
		{"each transport has a health of its own", []string{a, "tcp " + a}, nat.Trunks, "tcp " + a, a + "/tcp", a + "/tcp"},
		{"and the other one", []string{a, "tcp " + a}, nat.Trunks, a, a, a},
		{"a transport that it does not have", []string{"tcp " + a, b}, nat.Trunks, a, a + "/tcp", a + "/tcp"},
		{"of two the first in the configuration", []string{"10.0.0.9:5060", "tcp 10.0.0.9:5060"}, nat.Trunks, "10.0.0.9:5060", "10.0.0.9:5060", "10.0.0.9:5060"},

		// RFC 3261 §18.2.1, RFC 3581: a datagram's source port may be any; RFC 3263 §4: a server's is not.
		{"another port of its machine", []string{a, b}, nat.Trunks, "10.0.0.10:5080", "", a},
		{"of a machine with two nodes", []string{a, "10.0.0.10:5070"}, nat.Trunks, "10.0.0.10:5080", "", ""},
		{"a connection that it has made", []string{"tcp " + a, b}, nat.Trunks, "tcp 10.0.0.10:41000 conn", a + "/tcp", a + "/tcp"},
		{"one that we would have to make", []string{"tcp " + a, b}, nat.Trunks, "tcp 10.0.0.10:41000", "", a + "/tcp"},
		{"it has made one by the transport that it has", []string{a, "tcp " + a}, nat.Trunks, "tcp 10.0.0.10:41000 conn", a + "/tcp", a + "/tcp"},
		{"and by one that it does not have", []string{a, b}, nat.Trunks, "tcp 10.0.0.10:41000 conn", a, a},
		{"one of two has made it", []string{"tcp " + a, "tcp 10.0.0.10:5070"}, nat.Trunks, "tcp 10.0.0.10:41000 conn", "", ""},
		{"ours to its door", []string{"tcp " + a, "tcp 10.0.0.10:5070"}, nat.Trunks, "tcp 10.0.0.10:5070 conn", "10.0.0.10:5070/tcp", "10.0.0.10:5070/tcp"},

		// The listener tells phones' calls from trunks'. The node is one.
		{"a node of the other realm", []string{a + " phones", b}, nat.Trunks, a, a, a},
		{"its machine has nodes of both, from elsewhere", []string{a + " phones", "10.0.0.10:5070 trunks"}, nat.Trunks, "10.0.0.10:5080", "", "10.0.0.10:5070"},
		{"and to phones' listener", []string{a + " phones", "10.0.0.10:5070 trunks"}, nat.Phones, "10.0.0.10:5080", "", a},
		{"a door is a door, in whichever realm", []string{a + " phones", "10.0.0.10:5070 trunks"}, nat.Trunks, a, a, a},
		{"two of the own realm are not made one by the other", []string{a, "10.0.0.10:5070", "10.0.0.10:5090 phones"}, nat.Trunks, "10.0.0.10:5080", "", ""},
		{"only the other realm has one there", []string{a + " phones", b + " trunks"}, nat.Trunks, "10.0.0.10:5080", "", a},

		{"IPv6", []string{"[2001:db8::10]:5060"}, nat.Trunks, "[2001:db8::10]:5080", "", "[2001:db8::10]:5060"},
		{"IPv4 as a socket of both families sees it", []string{a}, nat.Trunks, "[::ffff:10.0.0.10]:5060", a, a},
		{"and from another port", []string{a}, nat.Trunks, "[::ffff:10.0.0.10]:5080", "", a},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var w Watch
			w.Learn(pbx(t, nil, tt.nodes...))
			f := flow(t, tt.realm, tt.flow)
			if got := idOf(w.To(tt.realm, f)); got != tt.to {
				t.Errorf("it leads to %q, want %q", got, tt.to)
			}
			if got := idOf(w.From(tt.realm, f)); got != tt.from {
				t.Errorf("it comes from %q, want %q", got, tt.from)
			}
		})
	}
}

// TestDoorsNameTheirRealm: a node of both realms is found as the one has it that asks: by its listener, with its settings.
func TestDoorsNameTheirRealm(t *testing.T) {
	var w Watch
	w.Learn(pbx(t, nil, "10.0.0.10:5060", "10.0.0.11:5060 phones"))
	for _, realm := range []nat.Realm{nat.Phones, nat.Trunks} {
		for _, at := range []string{"10.0.0.10:5060", "10.0.0.10:5080"} {
			if h := w.From(realm, flow(t, realm, at)); h == nil || h.Peer.Realm != realm || h.Flow.Interface != interfaceOf(realm, nat.UDP) {
				t.Errorf("%s by %s: %+v", at, realm, h)
			}
		}
		if s := w.System(realm); s == nil || s.Realm != realm {
			t.Errorf("the nodes of %s are %+v", realm, s)
		}
	}
	if h := w.To(nat.Trunks, flow(t, nat.Trunks, "10.0.0.11:5060")); h == nil || h.Peer.Realm != nat.Phones {
		t.Errorf("a node that phones alone have is %+v", h)
	}
	var none Watch
	if none.System(nat.Phones) != nil || none.To(nat.Phones, flow(t, nat.Phones, "10.0.0.10:5060")) != nil {
		t.Error("who has learnt nothing knows a node")
	}
}

// TestWays: what leads to a node, by each listener of ours, and to no other node.
func TestWays(t *testing.T) {
	for _, tt := range []struct {
		name  string
		nodes []string
		id    string
		want  string
	}{
		{"by all listeners", []string{"10.0.0.10:5060", "10.0.0.11:5060"}, "10.0.0.10:5060", "2 udp, 3 tcp, 4 udp, 5 tcp"},
		{"the other one has a health of its own", []string{"10.0.0.10:5060", "tcp 10.0.0.10:5060"}, "10.0.0.10:5060", "2 udp, 4 udp"},
		{"that", []string{"10.0.0.10:5060", "tcp 10.0.0.10:5060"}, "10.0.0.10:5060/tcp", "3 tcp, 5 tcp"},
		{"of one realm", []string{"10.0.0.10:5060 phones"}, "10.0.0.10:5060", "2 udp, 3 tcp, 4 udp, 5 tcp"},
		{"of one that is gone", []string{"10.0.0.10:5060"}, "10.0.0.99:5060", ""},
	} {
		var w Watch
		w.Learn(pbx(t, nil, tt.nodes...))
		var got []string
		for id := uint16(2); id < 6; id++ {
			for f := range w.Ways(inside[id], "pbx "+tt.id) {
				got = append(got, fmt.Sprint(f.Interface, " ", f.Transport))
				if f.Conn != 0 || f.Remote != netip.MustParseAddrPort("10.0.0.10:5060") {
					t.Errorf("%s: %+v", tt.name, f)
				}
			}
		}
		if s := strings.Join(got, ", "); s != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, s, tt.want)
		}
	}
	var w Watch
	w.Learn(pbx(t, nil, "10.0.0.10:5060"))
	for range w.Ways(inside[2], "pbx 10.0.0.10:5060") {
		break // whoever has found enough may stop
	}
}

// naive is the rule read off its text, over the plans themselves.
func naive(b *trunk.Book, realm nat.Realm, f nat.Flow, came bool) string {
	var hops []*trunk.Hop // those of the realm first
	for _, r := range []nat.Realm{realm, 1 - realm} {
		for s := range b.Nodes {
			for i := range s.Hops {
				if s.Realm == r {
					hops = append(hops, &s.Hops[i])
				}
			}
		}
	}
	first := func(fits func(h *trunk.Hop) bool) *trunk.Hop {
		if i := slices.IndexFunc(hops, fits); i >= 0 {
			return hops[i]
		}
		return nil
	}
	at := func(at netip.AddrPort) *trunk.Hop {
		if h := first(func(h *trunk.Hop) bool { return h.Flow.Remote == at && h.Flow.Transport == f.Transport }); h != nil {
			return h
		}
		return first(func(h *trunk.Hop) bool { return h.Flow.Remote == at })
	}
	if h := at(f.Remote); h != nil {
		return idOf(h)
	}
	if !came && f.Conn == 0 {
		return ""
	}
	for _, r := range []nat.Realm{realm, 1 - realm} {
		var ports []netip.AddrPort
		for _, h := range hops {
			if h.Peer.Realm == r && h.Flow.Remote.Addr() == f.Remote.Addr() && !slices.Contains(ports, h.Flow.Remote) {
				ports = append(ports, h.Flow.Remote)
			}
		}
		switch len(ports) {
		case 0:
		case 1:
			return idOf(at(ports[0]))
		default:
			return ""
		}
	}
	return ""
}

// someNodes draws a PBX whose nodes share addresses, ports, transports and realms as they like.
func someNodes(t *rapid.T) []string {
	node := rapid.Custom(func(t *rapid.T) string {
		return rapid.SampledFrom([]string{"", "tcp "}).Draw(t, "transport") + rapid.SampledFrom([]string{"10.0.0.10", "10.0.0.11"}).Draw(t, "address") +
			rapid.SampledFrom([]string{":5060", ":5070"}).Draw(t, "port") + rapid.SampledFrom([]string{"", " phones", " trunks"}).Draw(t, "realms")
	})
	return rapid.SliceOfN(node, 0, 6).Draw(t, "nodes")
}

func someFlow(t *rapid.T) (nat.Realm, nat.Flow) {
	realm := nat.Realm(rapid.IntRange(0, 1).Draw(t, "realm"))
	s := rapid.SampledFrom([]string{"", "tcp "}).Draw(t, "by") + rapid.SampledFrom([]string{"10.0.0.10", "10.0.0.11", "10.0.0.12"}).Draw(t, "at") +
		rapid.SampledFrom([]string{":5060", ":5070", ":41000"}).Draw(t, "on") + rapid.SampledFrom([]string{"", " conn"}).Draw(t, "made")
	return realm, flow(t, realm, s)
}

// TestDoorsFollowTheRule: the index has what its rule says, whatever the configuration; and what leads somewhere comes from there.
func TestDoorsFollowTheRule(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := pbx(t, nil, someNodes(t)...)
		var w Watch
		w.Learn(b)
		for range 20 {
			realm, f := someFlow(t)
			to, from := idOf(w.To(realm, f)), idOf(w.From(realm, f))
			if want := naive(b, realm, f, false); to != want {
				t.Fatalf("%s %+v leads to %q, want %q", realm, f, to, want)
			}
			if want := naive(b, realm, f, true); from != want {
				t.Fatalf("%s %+v comes from %q, want %q", realm, f, from, want)
			}
			if to != "" && to != from {
				t.Fatalf("%s %+v leads to %q and comes from %q", realm, f, to, from)
			}
			var ways int
			for way := range w.Ways(inside[f.Interface], "pbx "+to) {
				if idOf(w.To(realm, way)) != to {
					t.Fatalf("a way to %s leads to %s", to, idOf(w.To(realm, way)))
				}
				if way.Remote == f.Remote {
					ways++
				}
			}
			if door := to != "" && f.Conn == 0; door && ways != 1 {
				t.Fatalf("%s %+v is %d ways to %s", realm, f, ways, to)
			}
		}
	})
}

// TestDoorsCostNothing: a look-up is made for every request and every response.
func TestDoorsCostNothing(t *testing.T) {
	var w Watch
	w.Learn(pbx(t, nil, "10.0.0.10:5060", "10.0.0.11:5060"))
	door, other := flow(t, nat.Trunks, "10.0.0.10:5060"), flow(t, nat.Trunks, "10.0.0.11:5080")
	if n := testing.AllocsPerRun(100, func() {
		_, _ = w.To(nat.Trunks, door), w.From(nat.Trunks, other)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
