package config

import (
	"net/netip"
	"testing"
)

func TestAddr(t *testing.T) {
	checkValues[Addr](t, []valueCase{
		{text: "", want: ""},
		{text: "192.0.2.1", want: "192.0.2.1"},
		{text: "2001:DB8::1", want: "2001:db8::1"},
		{text: "::ffff:192.0.2.1", want: "192.0.2.1"},
		{text: "192.0.2.01", bad: "not an IP address", hint: "192.0.2.10"},
		{text: "192.0.2", bad: "not an IP address", hint: "192.0.2.10"},
		{text: "192.0.2.1:5060", bad: "not an IP address", hint: "192.0.2.10"},
		{text: "fe80::1%eth0", bad: "has a zone", hint: "global"},
		{text: "gate.example.com", bad: "an address must stand here", hint: "IP address"},
		{text: "localhost", bad: "an address must stand here", hint: "IP address"},
		{text: "0.0.0.0/0", bad: "not an IP address", hint: "192.0.2.10"},
		{text: " 192.0.2.1", bad: "not an IP address", hint: "192.0.2.10"},
	})
}

func TestEndpoint(t *testing.T) {
	checkValues[Endpoint](t, []valueCase{
		{text: "192.0.2.1", want: "192.0.2.1:5060"},
		{text: "192.0.2.1:5080", want: "192.0.2.1:5080"},
		{text: "2001:db8::1", want: "[2001:db8::1]:5060"},
		{text: "[2001:db8::1]", want: "[2001:db8::1]:5060"},
		{text: "[2001:db8::1]:65535", want: "[2001:db8::1]:65535"},
		{text: "[::ffff:192.0.2.1]:5061", want: "192.0.2.1:5061"},
		{text: "", bad: "empty", hint: "192.0.2.10"},
		{text: ":5060", bad: "empty", hint: "192.0.2.10"},
		{text: "[]:5060", bad: "empty", hint: "192.0.2.10"},
		{text: "192.0.2.1:", bad: "not a port", hint: "65535"},
		{text: "192.0.2.1:0", bad: "not a port", hint: "65535"},
		{text: "192.0.2.1:65536", bad: "not a port", hint: "65535"},
		{text: "192.0.2.1:sip", bad: "not a port", hint: "65535"},
		{text: "PBX.Example.com.:5060", want: "pbx.example.com:5060"},
		{text: "pbx.example.com", want: "pbx.example.com"},
		{text: "pbx", want: "pbx"},
		{text: "pbx-1:5080", want: "pbx-1:5080"},
		{text: "pbx.example.com:0", bad: "not a port", hint: "65535"},
		{text: "192.0.2.1o", bad: "not an IP address", hint: "192.0.2.10"},
		{text: "192.0.2.1o:5060", bad: "not an IP address", hint: "192.0.2.10"},
		{text: "1pbx", bad: "not an IP address", hint: "192.0.2.10"},
		{text: "a..example.com", bad: "not an IP address", hint: "192.0.2.10"},
		{text: "[fe80::1%eth0]:5060", bad: "has a zone", hint: "global"},
		{text: "sip:192.0.2.1:5060", bad: "not an IP address", hint: "192.0.2.10"},
		{text: "[2001:db8::1", bad: "bracket", hint: "[2001:db8::20]:5060"},
		{text: "2001:db8::1]", bad: "not an IP address", hint: "192.0.2.10"},
	})
}

func TestAddrsOfFamily(t *testing.T) {
	four, six := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	list := Addrs{{four}, {six}}
	for _, c := range []struct {
		list Addrs
		like netip.Addr
		want netip.Addr
		ok   bool
	}{
		{list, netip.MustParseAddr("10.0.0.1"), four, true},
		{list, netip.MustParseAddr("fd00::1"), six, true},
		{list[:1], six, netip.Addr{}, false},
		{nil, four, netip.Addr{}, false},
	} {
		if got, ok := c.list.Of(c.like); got != c.want || ok != c.ok {
			t.Errorf("%v of %v: %v %v", c.list, c.like, got, ok)
		}
	}
}

// TestPortsOfTransports: an address without a port gets that of its transport, one with a port keeps it (RFC 3263 §4.2).
func TestPortsOfTransports(t *testing.T) {
	for _, c := range []struct{ text, transport, want string }{
		{"192.0.2.1", "udp", "192.0.2.1:5060"},
		{"192.0.2.1", "tcp", "192.0.2.1:5060"},
		{"192.0.2.1", "tls", "192.0.2.1:5061"},
		{"2001:db8::1", "tls", "[2001:db8::1]:5061"},
		{"[2001:db8::1]", "tls", "[2001:db8::1]:5061"},
		{"192.0.2.1:5060", "tls", "192.0.2.1:5060"},
		{"[2001:db8::1]:5060", "tls", "[2001:db8::1]:5060"},
	} {
		var e Endpoint
		if err := e.UnmarshalText([]byte(c.text)); err != nil {
			t.Fatal(err)
		}
		e.settle(c.transport)
		if e.String() != c.want || e.portless {
			t.Errorf("%s %s: %s, want %s", c.transport, c.text, e, c.want)
		}
	}
	// A flag and the file name the same node, one of them without its port.
	snap, report := parseText("f", []byte(valid), parseFlags(t, "--pbx", "10.0.0.10:5060", "--pbx", "10.0.0.10"))
	if snap == nil || len(snap.PBX.Nodes) != 1 {
		t.Error(report.String())
	}
}
