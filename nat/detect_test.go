package nat

import (
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const (
	publicHost  = "198.51.100.7"
	privateHost = "192.168.1.20"
	atNAT       = "198.51.100.7:40122"
)

// of is the evidence of a phone behind a NAT that shows its own address everywhere.
func of(edit func(*Evidence)) Evidence {
	e := Evidence{
		Source: netip.MustParseAddrPort(atNAT), ViaHost: privateHost, ViaPort: 5060, ContactHost: privateHost, ContactPort: 5060,
		CallIDHost: privateHost, Internal: NewRanges(netip.MustParsePrefix("10.0.0.0/8")),
	}
	if edit != nil {
		edit(&e)
	}
	return e
}

// Real phones as they are seen on the wire, in their usual configurations: none of them is accused of a gateway.
func TestDetectRealPhones(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(*Evidence)
		want Kind
	}{
		{"Yealink, Polycom, Grandstream, Snom, baresip: own address everywhere", nil, KindAddress},
		{"Yealink with STUN: public everywhere, Call-ID private", func(e *Evidence) {
			e.ViaHost, e.ViaPort, e.ContactHost, e.ContactPort, e.Media = publicHost, 40122, publicHost, 40122, publicHost
		}, KindNone},
		{"Grandstream with a configured NAT address and another mapped port", func(e *Evidence) {
			e.ViaHost, e.ContactHost, e.Media = publicHost, publicHost, publicHost
		}, KindPort},
		{"linphone, told: Contact public, Via and SDP its own", func(e *Evidence) {
			e.Told, e.ContactHost, e.ContactPort, e.Media = true, publicHost, 40122, privateHost
		}, KindAddress},
		{"pjsip, told: Via and Contact public, SDP its own", func(e *Evidence) {
			e.Told, e.ViaHost, e.ViaPort, e.ContactHost, e.ContactPort, e.Media = true, publicHost, 40122, publicHost, 40122, privateHost
		}, KindNone},
		{"pjsip without contact rewriting, told: Via public alone", func(e *Evidence) {
			e.Told, e.ViaHost, e.ViaPort = true, publicHost, 40122
		}, KindAddress},
		{"Asterisk with externaddr: private Call-ID", func(e *Evidence) {
			e.ViaHost, e.ViaPort, e.ContactHost, e.ContactPort = publicHost, 40122, publicHost, 40122
			e.CallIDHost = "127.0.0.1"
		}, KindNone},
		{"JsSIP: names nobody", func(e *Evidence) {
			e.Transport, e.ViaHost, e.ContactHost, e.CallIDHost = WSS, "8d7fh2.invalid", "8d7fh2.invalid", ""
		}, KindUnknown},
		{"a phone before it has an address", func(e *Evidence) { e.ViaHost, e.ContactHost = "0.0.0.0", "127.0.0.1" }, KindUnknown},
		{"Via with a name, Contact with an address", func(e *Evidence) { e.ViaHost = "phone.local" }, KindAddress},
		{"ICE: SDP public by STUN", func(e *Evidence) { e.Media, e.Candidates = publicHost, true }, KindAddress},
		{"no NAT", func(e *Evidence) {
			e.ViaHost, e.ContactHost, e.Source = publicHost, publicHost, netip.MustParseAddrPort(publicHost+":5060")
		}, KindNone},
		{"no NAT, port left out", func(e *Evidence) {
			e.ViaHost, e.ViaPort, e.ContactHost, e.Source = publicHost, 0, publicHost, netip.MustParseAddrPort(publicHost+":5060")
		}, KindNone},
		{"no NAT, TLS: the source port is the connection's own", func(e *Evidence) {
			e.Transport, e.ViaHost, e.ViaPort, e.ContactHost = TLS, publicHost, 5061, publicHost
		}, KindNone},
		{"a VPN office: internal, whatever it names", func(e *Evidence) { e.Source = netip.MustParseAddrPort("10.1.2.3:5060") }, KindInternal},
		{"internal, public Contact", func(e *Evidence) {
			e.Source, e.ViaHost, e.ContactHost = netip.MustParseAddrPort("10.1.2.3:5060"), "10.1.2.3", publicHost
		}, KindInternal},
		{"carrier NAT: another private address", func(e *Evidence) { e.ViaHost, e.ContactHost = "100.64.3.4", "100.64.3.4" }, KindAddress},
		{"behind a NAT within a private network", func(e *Evidence) {
			e.Source, e.Told = netip.MustParseAddrPort("192.168.77.1:4000"), false
			e.ViaHost = "192.168.77.1"
		}, KindAddress},
		{"two public addresses", func(e *Evidence) { e.ViaHost, e.ContactHost = "203.0.113.99", "203.0.113.99" }, KindAddress},
		{"IPv6", func(e *Evidence) {
			e.Source, e.ViaHost, e.ContactHost = netip.MustParseAddrPort("[2001:db8::7]:5060"), "2001:DB8:0:0::7", "2001:db8::7"
		}, KindNone},
		{"IPv4 in IPv6 clothes", func(e *Evidence) {
			e.Source, e.ViaHost, e.ContactHost = netip.MustParseAddrPort("[::ffff:198.51.100.7]:5060"), publicHost, publicHost
		}, KindNone},
		{"nothing at all", func(e *Evidence) { *e = Evidence{} }, KindUnknown},
	} {
		if kind, alg := Detect(of(c.edit)); kind != c.want || alg != nil {
			t.Errorf("%s: %v, want %v; %q", c.name, kind, c.want, alg)
		}
	}
}

func TestDetectGateways(t *testing.T) {
	for _, c := range []struct {
		name, field string
		edit        func(*Evidence)
	}{
		{"Via alone", "edits Via", func(e *Evidence) { e.ViaHost, e.ViaPort = publicHost, 40122 }},
		{"Via's host alone", "edits Via", func(e *Evidence) { e.ViaHost = publicHost }},
		{"Via of a phone in a carrier's network", "edits Via", func(e *Evidence) { e.ViaHost, e.ContactHost = publicHost, "100.64.1.1" }},
		{"Contact alone, before anything was told", "edits Contact", func(e *Evidence) { e.ContactHost, e.ContactPort = publicHost, 40122 }},
		{"Contact over TCP", "edits Contact", func(e *Evidence) { e.Transport, e.ContactHost, e.ContactPort = TCP, publicHost, 5060 }},
		{"SDP alone", "edits SDP", func(e *Evidence) { e.Media, e.Told = publicHost, true }},
	} {
		kind, alg := Detect(of(c.edit))
		if kind != KindAddress || len(alg) != 1 || !strings.Contains(alg[0], c.field) || !strings.Contains(alg[0], publicHost) {
			t.Errorf("%s: %v %q", c.name, kind, alg)
		}
	}
	// A configured NAT address without the mapped port is no gateway's work: that would know the port.
	if _, alg := Detect(of(func(e *Evidence) { e.ContactHost, e.ContactPort = publicHost, 5060 })); alg != nil {
		t.Errorf("%q", alg)
	}
}

// Whatever is written in a message, detection is total, and what was told is never taken for a gateway's work in Via or
// Contact.
func TestDetectIsTotal(t *testing.T) {
	host := rapid.SampledFrom([]string{
		"", publicHost, privateHost, "10.0.0.1", "203.0.113.9", "phone.example", "x.invalid", "::1", "2001:db8::1", "fe80::1%eth0", "0.0.0.0",
		"999.1.1.1", "1.2.3", ":", "[::1]",
	})
	rapid.Check(t, func(t *rapid.T) {
		e := Evidence{
			Source:    netip.AddrPortFrom(netip.MustParseAddr(rapid.SampledFrom([]string{publicHost, "10.0.0.9", privateHost, "2001:db8::1"}).Draw(t, "source")), rapid.Uint16().Draw(t, "port")),
			Transport: Transport(rapid.IntRange(0, 3).Draw(t, "transport")),
			ViaHost:   host.Draw(t, "via"), ViaPort: rapid.SampledFrom([]uint16{0, 5060, 40122}).Draw(t, "via port"),
			ContactHost: host.Draw(t, "contact"), ContactPort: rapid.SampledFrom([]uint16{0, 5060, 40122}).Draw(t, "contact port"),
			CallIDHost: host.Draw(t, "call-id"), Media: host.Draw(t, "media"), Candidates: rapid.Bool().Draw(t, "ice"),
			Told: rapid.Bool().Draw(t, "told"), Internal: NewRanges(netip.MustParsePrefix("10.0.0.0/8")),
		}
		kind, alg := Detect(e)
		for _, c := range alg {
			if e.Told && !strings.Contains(c, "SDP") {
				t.Fatalf("%+v: %q", e, c)
			}
		}
		if (kind == KindInternal) != (e.Source.Addr().String() == "10.0.0.9") || kind == KindInternal && alg != nil {
			t.Fatalf("%+v: %v %q", e, kind, alg)
		}
		if kind == KindNone && e.Transport == UDP && e.ViaHost == publicHost && e.ViaPort != e.Source.Port() && e.ViaPort != 0 {
			t.Fatalf("%+v: %v", e, kind)
		}
	})
}

func TestKindNames(t *testing.T) {
	for k, want := range map[Kind]string{
		KindUnknown: "unknown", KindNone: "none", KindInternal: "internal", KindPort: "port", KindAddress: "address", 99: "unknown",
	} {
		if k.String() != want {
			t.Errorf("%d is %q", k, k)
		}
	}
}

func TestEchoCompare(t *testing.T) {
	sent := Echo{ViaHost: "203.0.113.10", ViaPort: 5060, FromHost: "example.com", ToHost: privateHost, ToPort: 5060}
	for _, c := range []struct {
		name  string
		edit  func(*Echo)
		words []string
	}{
		{"as it was", func(*Echo) {}, nil},
		{"the usual port left out, a name in capitals", func(e *Echo) { e.ViaPort, e.ToPort, e.FromHost = 0, 0, "EXAMPLE.com" }, nil},
		{"To translated", func(e *Echo) { e.ToHost, e.ToPort = publicHost, 40122 }, []string{"To of our request came back with 198.51.100.7:40122 instead of 192.168.1.20:5060"}},
		{"Via's port", func(e *Echo) { e.ViaPort = 40000 }, []string{"Via of our request"}},
		{"everything", func(e *Echo) { *e = Echo{ViaHost: "a", FromHost: "b", ToHost: strings.Repeat("c", 300)} }, []string{"Via", "From", "To"}},
	} {
		back := sent
		c.edit(&back)
		got := sent.Compare(back)
		if len(got) != len(c.words) {
			t.Errorf("%s: %q", c.name, got)
			continue
		}
		for i, w := range c.words {
			if !strings.Contains(got[i], w) || len(got[i]) > 250 {
				t.Errorf("%s: %q", c.name, got[i])
			}
		}
	}
	six := Echo{ViaHost: "2001:db8::1", FromHost: "x", ToHost: "y"}
	if got := six.Compare(Echo{ViaHost: "2001:DB8:0::1", FromHost: "x", ToHost: "y"}); got != nil {
		t.Errorf("one address in two spellings: %q", got)
	}
}

func TestDetectDoesNotAllocate(t *testing.T) {
	e := of(nil)
	if n := testing.AllocsPerRun(100, func() { Detect(e) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
