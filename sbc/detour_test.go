package sbc

import (
	"net/netip"
	"testing"

	"sallyport/nat"
	"sallyport/sbc/config"
	"sallyport/sbc/message"
	"sallyport/sbc/trunk"
	"sallyport/sbc/tu"
)

// TestNodesStandIn: who goes on for a lost node, by which listener of ours; nobody of another group; and what must stay on TLS does not leave it.
func TestNodesStandIn(t *testing.T) {
	snap, report := config.Parse("f.yaml", []byte(`
outside: { address: 203.0.113.10 }
inside: { address: 10.0.0.2, phones: { udp: 5060, tcp: 5060 }, trunks: { udp: 5080, tcp: 5080 } }
pbx:
  domain: example.com
  nodes:
    - { address: "10.0.0.10:5060", transport: tcp }
    - { address: "10.0.0.11:5070" }
    - { address: "10.0.0.12:5060", transport: tcp, priority: 2 }
    - { address: "10.0.0.13:5060", transport: tcp, group: others }
`), config.Flags{})
	if snap == nil {
		t.Fatal(report.String())
	}
	a := &assembly{world: newWorld(snap, nil, nil)}
	a.book = trunk.NewBook(a.world.systems, nil)
	node := func(at string) (*trunk.System, *trunk.Hop) {
		return a.nodeOf(nat.Trunks, nat.Flow{Transport: nat.TCP, Remote: netip.MustParseAddrPort(at)})
	}
	sys, lost := node("10.0.0.10:5060")
	if lost == nil {
		t.Fatal("there is no such node")
	}
	down := func(at string) {
		_, h := node(at)
		a.book.Report(h.ID, trunk.Down)
	}
	check := func(when, want string, secure bool) {
		t.Helper()
		h, ok := a.standIn(sys, lost, &lost.Hop, netip.AddrPort{}, "a call", secure)
		if got := h.Flow.Remote.String(); ok != (want != "") || ok && got != want {
			t.Errorf("%s: %s, %v; want %q", when, got, ok, want)
		}
	}
	down("10.0.0.10:5060")
	check("by the same listener", "10.0.0.12:5060", false)
	down("10.0.0.12:5060")
	check("by another transport", "10.0.0.11:5070", false)
	check("which is none for sips", "", true)
	down("10.0.0.11:5070")
	check("others are of another group", "", false)

	made := nat.Flow{Transport: nat.TCP, Remote: netip.MustParseAddrPort("10.0.0.10:41000"), Conn: 7}
	if _, h := a.nodeOf(nat.Trunks, made); h != lost {
		t.Errorf("a connection that the node has made is that of %v", h)
	}
	if made.Conn = 0; true {
		if _, h := a.nodeOf(nat.Trunks, made); h != nil {
			t.Errorf("another port of the node's is %v", h.ID)
		}
	}
}

func TestRoutesMove(t *testing.T) {
	from := nat.Flow{Transport: nat.TCP, Remote: netip.MustParseAddrPort("10.0.0.10:5060")}
	to := nat.Flow{Transport: nat.UDP, Remote: netip.MustParseAddrPort("10.0.0.11:5070")}
	for in, want := range map[string]string{
		"sip:10.0.0.10;lr":                             "sip:10.0.0.11:5070;lr",
		"sip:x@node1.example.com:5060;lr;did=4":        "sip:x@10.0.0.11:5070;lr;did=4",
		"sip:10.0.0.10;transport=tcp;lr":               "sip:10.0.0.11:5070;transport=udp;lr",
		"sip:10.0.0.10:5061;transport=tls;lr":          "sip:10.0.0.11:5061;transport=tls;lr", // its door to somebody else
		"sip:10.0.0.10:5060;lr;transport=TCP;r2=on":    "sip:10.0.0.11:5070;lr;transport=udp;r2=on",
		"sip:10.0.0.10:5060;transport=udp;lr;xtcp=tcp": "sip:10.0.0.11:5070;transport=udp;lr;xtcp=tcp",
	} {
		u, err := message.ParseURI(in)
		if err != nil {
			t.Fatal(err)
		}
		if moveTo(&u, from, to); u.String() != want {
			t.Errorf("%s: %s, want %s", in, u.String(), want)
		}
	}
}

// TestStrictRouters: whether the next hop is one shows in where it stands; without it the request is what it would make of it.
func TestStrictRouters(t *testing.T) {
	peer := &tu.Peer{Kind: tu.KindNode, Reach: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
	at := netip.MustParseAddrPort("10.0.0.10:5060")
	hop := tu.Hop{Peer: peer, Flow: nat.Flow{Remote: at}}
	for _, tt := range []struct {
		name, uri string
		routes    []string
		strict    bool
		past      string
	}{
		{"loose", "sip:far@10.0.0.50", []string{"<sip:10.0.0.10;lr>", "<sip:10.0.0.40;lr>"}, false, ""},
		{"loose, to a far end at the node", "sip:far@10.0.0.10", []string{"<sip:10.0.0.10;lr>"}, false, ""},
		{"strict alone", "sip:10.0.0.10", []string{"<sip:far@10.0.0.50>"}, true, "sip:far@10.0.0.50"},
		{"strict before loose", "sip:10.0.0.10", []string{"<sip:10.0.0.40;lr>", "<sip:far@10.0.0.50>"}, true, "sip:far@10.0.0.50 <sip:10.0.0.40;lr>"},
		{"strict before strict", "sip:10.0.0.10", []string{"<sip:10.0.0.40>", "<sip:far@10.0.0.50>"}, true, "sip:10.0.0.40 <sip:far@10.0.0.50>"},
		{"neither is the node", "sip:10.0.0.60", []string{"<sip:10.0.0.40;lr>"}, false, ""},
	} {
		u, err := message.ParseURI(tt.uri)
		if err != nil {
			t.Fatal(err)
		}
		m := &message.Message{Method: "BYE", URI: u}
		for _, r := range tt.routes {
			m.Add("Route", r)
		}
		routes, err := m.NameAddrs("Route")
		if err != nil {
			t.Fatal(err)
		}
		if got := strictly(m, routes, &hop, at); got != tt.strict {
			t.Errorf("%s: %v", tt.name, got)
		}
		if tt.past == "" {
			continue
		}
		past := passedStrictly(m, routes)
		got := past.URI.String()
		for _, h := range past.Headers {
			got += " " + h.Value
		}
		if got != tt.past || m.URI.String() != tt.uri {
			t.Errorf("%s: past it %s, want %s", tt.name, got, tt.past)
		}
	}
}
