package trunk

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"sallyport/nat"
	"sallyport/sbc/message"
	"sallyport/sbc/route"
	"sallyport/sbc/tu"
)

// samePeer compares names: who has his source with others is a copy that says so.
func samePeer(a, b *tu.Peer) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Name == b.Name
}

// shared is a trunk of one provider, with what tells it apart.
func shared(name, contact string, numbers []string, transports ...nat.Transport) System {
	s := outside(name, []string{"203.0.113.0/29"})
	s.Contact = contact
	var list []*regexp.Regexp
	for _, n := range numbers {
		re, err := route.Compile(n)
		if err != nil {
			panic(err)
		}
		list = append(list, re)
	}
	s.Numbers = route.NewPatterns(list)
	for i, tr := range transports {
		h := hop(name, fmt.Sprintf("203.0.113.%d:5060", i+1), 1, 1)
		h.Peer.Name, h.Flow.Transport = name, tr
		s.Hops = append(s.Hops, h)
	}
	return s
}

func called(user string) route.Dialled {
	de, _ := route.CountryOf("DE")
	return de.Read(message.URI{Scheme: "sip", User: user, Host: "h"})
}

func TestChoose(t *testing.T) {
	b := NewBook([]System{
		shared("first", "", []string{`\+4930555.*`}, nat.UDP),
		shared("second", "", nil, nat.UDP),
		shared("third", "line-3", nil, nat.UDP),
		shared("fourth", "line-4", []string{`\+4940.*`}, nat.UDP),
		shared("tls", "", nil, nat.TLS),
		outside("own", []string{"203.0.113.4/32"}, hop("own", "203.0.113.5:5060", 1, 1)),
		outside("far", []string{"198.51.100.0/24"}, hop("far", "198.51.100.1:5060", 1, 1)),
	}, nil)
	for _, tt := range []struct {
		source, user string
		tr           nat.Transport
		want         string
		by           By
	}{
		{"203.0.113.1", "03055512", nat.UDP, "first", ByNumber}, // it is +493055512
		{"203.0.113.1", "+493055512", nat.UDP, "first", ByNumber},
		{"203.0.113.1", "line-3", nat.UDP, "third", ByContact},
		{"203.0.113.1", "line-4", nat.TLS, "fourth", ByContact},
		{"203.0.113.1", "04055512", nat.UDP, "fourth", ByNumber},
		{"203.0.113.1", "08912345", nat.UDP, "second", ByFile},
		{"203.0.113.1", "08912345", nat.TLS, "tls", ByTransport},
		{"203.0.113.1", "03055512", nat.TLS, "tls", ByTransport},
		{"203.0.113.1", "03055512", nat.TCP, "first", ByNumber}, // nobody has TCP
		{"::ffff:203.0.113.6", "x", nat.UDP, "second", ByFile},
		{"203.0.113.4", "x", nat.UDP, "own", ByFile}, // it names the address more closely
		{"203.0.113.4", "line-3", nat.UDP, "third", ByContact},
		{"198.51.100.9", "line-3", nat.UDP, "far", BySource},
	} {
		p, by := b.Choose(nat.Outside, nat.Trunks, netip.MustParseAddr(tt.source), Telling{Transport: tt.tr, User: tt.user, Called: called(tt.user)})
		if p == nil || p.Name != tt.want || by != tt.by {
			t.Errorf("%s to %s over %s: %v %s, want %s %s", tt.source, tt.user, tt.tr, p, by, tt.want, tt.by)
		}
	}
	for _, nobody := range []netip.Addr{{}, netip.MustParseAddr("192.0.2.1")} {
		if p, _ := b.Choose(nat.Outside, nat.Trunks, nobody, Telling{}); p != nil {
			t.Error(nobody, p.Name)
		}
	}
	if p := b.Identify(nat.Outside, nat.Trunks, netip.MustParseAddr("203.0.113.4")); p.Name != "own" ||
		!slices.Equal(p.Also, []string{"first", "second", "third", "fourth", "tls"}) {
		t.Errorf("%+v", p.Also)
	}
	far := b.Identify(nat.Outside, nat.Trunks, netip.MustParseAddr("198.51.100.9"))
	third, _ := b.Choose(nat.Outside, nat.Trunks, netip.MustParseAddr("203.0.113.2"), Telling{User: "line-3"})
	who := b.Identify(nat.Outside, nat.Trunks, netip.MustParseAddr("203.0.113.2"))
	if len(far.Also) != 0 || !who.SpeaksFor(third) || far.SpeaksFor(third) || third.SpeaksFor(far) {
		t.Error("in a dialog of the third trunk whoever has its source speaks, and nobody else")
	}
}

func TestTakes(t *testing.T) {
	b := NewBook([]System{
		shared("some", "line-1", []string{`\+4930555.*`, "204"}, nat.UDP), shared("any", "line-2", nil, nat.UDP),
	}, nil)
	for _, tt := range []struct {
		trunk, number string
		want          bool
	}{
		{"some", "03055512", true}, {"some", "+493055512", true}, {"some", "204", true}, {"some", "205", false}, {"some", "112", false},
		{"any", "112", true}, {"nobody", "112", true},
	} {
		if got := b.Takes(tt.trunk, called(tt.number)); got != tt.want {
			t.Errorf("%s takes %s: %v", tt.trunk, tt.number, got)
		}
	}
}

// TestChooseAgreesWithIdentify: where one trunk alone has a source, or nothing tells them apart, it is whom Identify names; and a
// stranger stays one, whatever he writes.
func TestChooseAgreesWithIdentify(t *testing.T) {
	address := rapid.Custom(func(t *rapid.T) netip.Addr {
		return netip.AddrFrom4([4]byte{203, 0, byte(rapid.IntRange(0, 1).Draw(t, "c")), byte(rapid.IntRange(0, 3).Draw(t, "d"))})
	})
	rapid.Check(t, func(t *rapid.T) {
		var systems []System
		for i := range rapid.IntRange(0, 5).Draw(t, "systems") {
			s := outside(fmt.Sprint("t", i), nil)
			for range rapid.IntRange(0, 2).Draw(t, "hops") {
				h := hop(s.Name, netip.AddrPortFrom(address.Draw(t, "hop"), 5060).String(), 1, 1)
				h.Peer.Name, h.Flow.Transport = s.Name, nat.UDP
				s.Hops = append(s.Hops, h)
			}
			for range rapid.IntRange(0, 2).Draw(t, "sources") {
				s.Sources = append(s.Sources, netip.PrefixFrom(address.Draw(t, "source"), rapid.SampledFrom([]int{24, 31, 32}).Draw(t, "bits")).Masked())
			}
			if rapid.Bool().Draw(t, "contact") {
				s.Contact = fmt.Sprint("c", i)
			}
			systems = append(systems, s)
		}
		b := NewBook(systems, nil)
		x, user := address.Draw(t, "x"), rapid.SampledFrom([]string{"c0", "c1", "c2", "30"}).Draw(t, "user")
		known := b.Identify(nat.Outside, nat.Trunks, x)
		p, by := b.Choose(nat.Outside, nat.Trunks, x, Telling{User: user, Transport: nat.UDP})
		switch {
		case (known == nil) != (p == nil):
			t.Fatalf("%v is %v, and chosen %v", x, known, p)
		case p == nil:
		case !known.SpeaksFor(p):
			t.Fatalf("%v is %s, and chosen %s (%s): it could not speak in the dialog", x, known.Name, p.Name, by)
		case by == BySource && p.Name != known.Name:
			t.Fatalf("%v is %s, and alone %s", x, known.Name, p.Name)
		}
	})
}

func BenchmarkChooseOfAThousandTrunks(b *testing.B) {
	var systems []System
	for i := range 1000 {
		systems = append(systems, shared(fmt.Sprint("t", i), "", []string{fmt.Sprintf(`\+49%03d.*`, i)}, nat.UDP))
	}
	book := NewBook(systems, nil)
	x, t := netip.MustParseAddr("203.0.113.1"), Telling{Transport: nat.UDP, User: "+49999123456", Called: called("+49999123456")}
	b.ReportAllocs()
	for b.Loop() {
		if p, _ := book.Choose(nat.Outside, nat.Trunks, x, t); p.Name != "t999" {
			b.Fatal(p.Name)
		}
	}
}

// TestProvenConnections: a connection speaks for the trunks that it has been proven to be of, whatever else has its address.
func TestProvenConnections(t *testing.T) {
	far := outside("far", nil, hop("far", "198.51.100.1:5061", 1, 1))
	far.Hops[0].Peer.Name = "far"
	b := NewBook([]System{
		shared("first", "", []string{`\+4930555.*`}, nat.TLS),
		shared("second", "line-2", nil, nat.TLS),
		shared("third", "line-3", nil, nat.TLS),
		far,
	}, nil)
	x := netip.MustParseAddr("203.0.113.1")
	for _, tt := range []struct {
		name   string
		proven []string
		at     netip.Addr
		is     string // by the connection alone
		speaks []string
		user   string
		want   string // for such a call
		by     By
	}{
		{"of one trunk, to the Contact of another", []string{"second"}, x, "second", []string{"first", "third"}, "line-3", "second", ByConnection},
		{"of one trunk, to the number of another", []string{"third"}, x, "third", []string{"first", "second"}, "+493055512", "third", ByConnection},
		{"of two, to the Contact of one", []string{"second", "third"}, x, "second", []string{"third", "first"}, "line-3", "third", ByContact},
		{"of two, to the Contact of a third", []string{"first", "second"}, x, "first", []string{"second", "third"}, "line-3", "second", ByFile},
		{"of two that do not both have its address", []string{"far", "third"}, x, "third", []string{"first", "second"}, "line-2", "third", ByConnection},
		{"of one that has another address", []string{"far"}, x, "far", []string{"first", "second", "third"}, "line-2", "far", ByConnection},
		{"of two, from anywhere", []string{"second", "third"}, netip.MustParseAddr("192.0.2.1"), "second", []string{"third"}, "line-3", "third", ByContact},
		{"of one that has its address alone", []string{"far"}, netip.MustParseAddr("198.51.100.1"), "far", nil, "line-3", "far", ByConnection},
		{"of none that there still is", []string{"gone"}, x, "", nil, "line-3", "third", ByContact},
		{"nothing", nil, x, "", nil, "line-3", "third", ByContact},
	} {
		who := b.Behind(nat.Outside, nat.Trunks, tt.at, tt.proven)
		if (who == nil) != (tt.is == "") || who != nil && (who.Name != tt.is || !slices.Equal(who.Also, tt.speaks)) {
			t.Errorf("%s: %+v, want %s, who speaks for %v", tt.name, who, tt.is, tt.speaks)
		}
		p, by := b.Choose(nat.Outside, nat.Trunks, tt.at, Telling{Proven: tt.proven, Transport: nat.TLS, User: tt.user, Called: called(tt.user)})
		if p == nil || p.Name != tt.want || by != tt.by {
			t.Errorf("%s, to %s: %v %s, want %s %s", tt.name, tt.user, p, by, tt.want, tt.by)
		}
	}
	if b.Behind(nat.Outside, nat.Trunks, netip.Addr{}, []string{"first"}) != nil {
		t.Error("an address that is none")
	}
}
