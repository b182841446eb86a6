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
		{text: "gate.example.com", bad: "is a name", hint: "IP address"},
		{text: "localhost", bad: "is a name", hint: "IP address"},
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
		{text: "pbx.example.com:5060", bad: "is a name", hint: "IP address"},
		{text: "pbx.example.com", bad: "is a name", hint: "IP address"},
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
