package config

import (
	"net/netip"
	"strings"
	"testing"
)

func TestPublic(t *testing.T) {
	checkValues[Public](t, []valueCase{
		{text: "", want: ""},
		{text: "198.51.100.5", want: "198.51.100.5"},
		{text: "Gate.Example.NET.", want: "gate.example.net"},
		{text: "gate", want: "gate"},
		{text: "198.51.100.5o", bad: "not an IP address", hint: "192.0.2.10"},
		{text: "gate.example.net:5060", bad: "not an IP address", hint: "192.0.2.10"},
	})
}

func TestSource(t *testing.T) {
	checkValues[Source](t, []valueCase{
		{text: "203.0.113.0/24", want: "203.0.113.0/24"},
		{text: "203.0.113.1-203.0.113.9", want: "203.0.113.1-203.0.113.9"},
		{text: "Out.Example.net", want: "out.example.net"},
		{text: "a-b.example.net", want: "a-b.example.net"},
		{text: "any", want: "any"},
		{text: "203.0.113.x", bad: "not an IP address", hint: "192.0.2.10"},
		{text: "country:DE", bad: "no country", hint: "policy"},
	})
}

func TestPublicsOf(t *testing.T) {
	four, six := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	for _, c := range []struct {
		list Publics
		like netip.Addr
		addr netip.Addr
		name string
	}{
		{nil, four, netip.Addr{}, ""},
		{Publics{{Addr: Addr{four}}}, four, four, ""},
		{Publics{{Addr: Addr{four}}}, six, netip.Addr{}, ""},
		{Publics{{Name: "gate"}}, six, netip.Addr{}, "gate"},
		{Publics{{Name: "gate"}, {Addr: Addr{four}}}, four, four, ""},
		{Publics{{Name: "gate"}, {Addr: Addr{four}}}, six, netip.Addr{}, "gate"},
	} {
		if a, name := c.list.Of(c.like); a != c.addr || name != c.name {
			t.Errorf("%v of %s: %s, %q", c.list, c.like, a, name)
		}
	}
}

const namedFile = `
outside: { address: 203.0.113.10, external_address: gate.example.net, trunks: { udp: 5080, tcp: 5080 } }
inside: { address: 10.0.0.2 }
pbx: { domain: example.com, nodes: [ { address: pbx.example.com, transport: tcp }, { address: "pbx.example.com:5070" } ], sources: vm.example.com }
trunks:
  - name: itsp
    peers: [ { address: sip.example.net }, { address: sip.example.net, transport: udp, priority: 2 } ]
    sources: [ out.example.net, 203.0.113.0/24 ]
policy: { rate_limits: [] }
`

func TestNamesInTheSnapshot(t *testing.T) {
	snap := mustParse(t, strings.Replace(namedFile, "{ address: sip.example.net, transport: udp, priority: 2 }", "{ address: two.example.net, transport: udp }", 1))
	n, p := snap.PBX.Nodes, snap.Trunks[0].Peers
	for what, c := range map[string][2]any{
		"node":          {n[0].Name, Name{Host: "pbx.example.com"}},
		"second node":   {n[1].Name, Name{Host: "pbx.example.com", Port: 5070}},
		"entry":         {n[1].Entry, 1},
		"peer":          {p[0].Name, Name{Host: "sip.example.net", Any: true}},
		"second peer":   {p[1].Name, Name{Host: "two.example.net"}},
		"address":       {p[0].Address, netip.AddrPort{}},
		"host":          {snap.Trunks[0].Host, "sip.example.net"},
		"told":          {snap.Told[0], "gate.example.net"},
		"told inside":   {snap.Told[len(snap.Told)-1], ""},
		"media":         {snap.Media.Names[0][0], "gate.example.net"},
		"sources":       {snap.Trunks[0].SourceNames[0] + " " + snap.Trunks[0].Sources[0].String(), "out.example.net 203.0.113.0/24"},
		"PBX's sources": {snap.PBX.SourceNames[0], "vm.example.com"},
		"advertised":    {snap.Interfaces[0].Advertised, snap.Interfaces[0].Bind},
	} {
		if c[0] != c[1] {
			t.Errorf("%s: %v, want %v", what, c[0], c[1])
		}
	}
}

func TestWrongNames(t *testing.T) {
	for _, c := range []struct{ from, to, what string }{
		{"", "", "7:55: trunks[0].peers[1].address: sip.example.net is named twice"},
		{"external_address: gate.example.net", "external_address: [gate.example.net, b.example.net]", "outside.external_address[1]: b.example.net is a second name, beside gate.example.net"},
		{"address: 203.0.113.10,", "address: gate.example.net,", `outside.address[0]: "gate.example.net" is a name, and an address must stand here`},
		{"trunks: { udp: 5080, tcp: 5080 }", "trunks: { tcp: 5080 }", "trunks[0].peers[1].transport: outside.trunks has no udp listener, by which sip.example.net could be reached"},
		{"transport: tcp }, {", "transport: tcp }, { address: pbx.example.com }, {", "pbx.nodes[1].address: pbx.example.com is named twice"},
		{"sources: [ out.example.net,", "sources: [ any,", "trunks[0].sources[0]: every address of a family"},
		{"{ address: sip.example.net },", `{ address: "sip.example.net:0" },`, `trunks[0].peers[0].address: "0" is not a port`},
	} {
		_, report := Parse("f.yaml", []byte(strings.Replace(namedFile, c.from, c.to, 1)), Flags{})
		if !strings.Contains(report.String(), c.what) {
			t.Errorf("%q is not told %q:\n%s", c.to, c.what, report.String())
		}
	}
}

// TestNamesAreNoPrivateAddresses: a provider by name is outside of private networks.
func TestNamesAreNoPrivateAddresses(t *testing.T) {
	for file, warned := range map[string]bool{
		"outside: { address: 192.168.1.2 }":                                     true,
		"outside: { address: 192.168.1.2, external_address: gate.example.net }": false,
	} {
		_, report := Parse("f.yaml", []byte(file+`
inside: { address: 10.0.0.2 }
pbx: { domain: example.com, nodes: [ { address: 10.0.0.10 } ] }
trunks: [ { name: itsp, peers: [ { address: sip.example.net } ] } ]
`), Flags{})
		if got := strings.Contains(report.String(), "no external_address is set"); got != warned {
			t.Errorf("%s: %s", file, report.String())
		}
	}
}
