package media

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"sallyport/nat"
)

func addrsOf(a, b string) (out [2]netip.Addr) {
	for i, s := range []string{a, b} {
		if s != "" {
			out[i] = netip.MustParseAddr(s)
		}
	}
	return out
}

func TestAddressesOfBothFamilies(t *testing.T) {
	for _, x := range []struct {
		name              string
		addresses, others [2]netip.Addr
		blocks            int
		wrong             string
	}{
		{"one each", addrsOf("192.0.2.1", "10.0.0.2"), addrsOf("", ""), 2, ""},
		{"both outside", addrsOf("192.0.2.1", "10.0.0.2"), addrsOf("2001:db8::1", ""), 2, ""},
		{"both on both", addrsOf("2001:db8::1", "10.0.0.2"), addrsOf("192.0.2.1", "fd00::2"), 2, ""},
		{"shared", addrsOf("192.0.2.1", "192.0.2.1"), addrsOf("2001:db8::1", "2001:db8::1"), 1, ""},
		{"shared in another order", addrsOf("192.0.2.1", "2001:db8::1"), addrsOf("2001:db8::1", "192.0.2.1"), 1, ""},
		{"shared in one family, the other on one side", addrsOf("2001:db8::1", "10.0.0.2"), addrsOf("", "2001:db8::1"), 1, ""},
		{"half shared", addrsOf("192.0.2.1", "10.0.0.2"), addrsOf("2001:db8::1", "2001:db8::1"), 1, "share both or none"},
		{"twice one family", addrsOf("192.0.2.1", "10.0.0.2"), addrsOf("192.0.2.2", ""), 2, "in the family that 192.0.2.1 has not"},
		{"mapped", addrsOf("192.0.2.1", "10.0.0.2"), addrsOf("::ffff:192.0.2.2", ""), 2, "in the family that"},
		{"a wildcard", addrsOf("192.0.2.1", "10.0.0.2"), addrsOf("::", ""), 2, "name one address"},
	} {
		c := Config{Addresses: x.addresses, Others: x.others, First: 30000, Last: 30019}
		err := c.Validate()
		if (err == nil) != (x.wrong == "") || err != nil && !strings.Contains(err.Error(), x.wrong) {
			t.Errorf("%s: %v, want %q", x.name, err, x.wrong)
		}
		if err != nil {
			continue
		}
		l := c.layout()
		if l.Blocks != x.blocks || l.Pairs != 10 {
			t.Errorf("%s: %d blocks of %d pairs", x.name, l.Blocks, l.Pairs)
		}
		if back, err := DecodeLayout(l.AppendTo(nil)); err != nil || back != l {
			t.Errorf("%s: %+v came back as %+v, %v", x.name, l, back, err)
		}
		for leg := range l.Legs() {
			places := []netip.AddrPort{l.Local(leg)}
			if other, ok := l.Other(leg); ok {
				places = append(places, other)
			}
			for _, at := range places {
				if found, ok := l.Leg(at); !ok || found != leg {
					t.Errorf("%s: %v is leg %d, found as %d", x.name, at, leg, found)
				}
				if got := l.From(leg, at.Addr()); got != at {
					t.Errorf("%s: leg %d sends from %v to the family of %v", x.name, leg, got, at)
				}
			}
		}
		for side := range x.addresses {
			for _, a := range []netip.Addr{x.addresses[side], x.others[side]} {
				if a.IsValid() && !l.has(nat.Side(side), a) {
					t.Errorf("%s: nothing of %v goes to %v", x.name, nat.Side(side), a)
				}
			}
		}
		if l.Fits(wireLayout()) || l.Fits(l) != true {
			t.Errorf("%s: fits", x.name)
		}
	}
	// A layout of one family has no other, and knows no address that is missing.
	l := wireLayout()
	if _, ok := l.Other(0); ok || l.Dual() {
		t.Error("one family is two")
	}
	if _, ok := l.Leg(netip.AddrPortFrom(netip.Addr{}, uint16(l.First))); ok {
		t.Error("no address is one of ours")
	}
	dual := l
	dual.Others[nat.Inside] = netip.MustParseAddr("fd00::2")
	if dual.Fits(l) || !strings.Contains(l.Differences(dual), "second inside address fd00::2") {
		t.Errorf("differences: %q", l.Differences(dual))
	}
}

func TestOwnAddressesOfBothFamilies(t *testing.T) {
	c := Config{Addresses: addrsOf("192.0.2.1", "10.0.0.2"), Others: addrsOf("2001:db8::1", ""), First: 30000, Last: 30019}
	e := NewEngine(c.layout(), time.Unix(1e9, 0))
	for at, own := range map[string]bool{
		"192.0.2.1:30000": true, "10.0.0.2:30019": true, "[2001:db8::1]:30001": true, "[2001:db8::1]:29999": false,
		"[2001:db8::2]:30000": false, "[::]:30000": false, "192.0.2.1:30020": false,
	} {
		if got := e.isOwn(EndpointOf(netip.MustParseAddrPort(at))); got != own {
			t.Errorf("%s: own %v", at, got)
		}
	}
}
