package names

import (
	"fmt"
	"net/netip"
	"testing"

	"sallyport/nat"
	"sallyport/sbc/resolve"
)

func TestOwn(t *testing.T) {
	snap := snapshotOf(t, expandedConfig)
	named := Expand(snap, answersOf(map[string][]resolve.Endpoint{
		"gate.example.net": {to("198.51.100.5:0", 0, 0)}, "other.example.net": {to("198.51.100.6:0", 0, 0)},
	}))
	for what, c := range map[string]struct{ got, want string }{
		"as written":      {fmt.Sprint(Own(snap)), "[[203.0.113.10 2001:db8::10] [10.0.0.2]]"},
		"names have come": {fmt.Sprint(Own(named)), "[[198.51.100.5 203.0.113.10 2001:db8::10 198.51.100.6] [10.0.0.2]]"},
	} {
		if c.got != c.want {
			t.Errorf("%s: %s, want %s", what, c.got, c.want)
		}
	}
	for _, a := range []string{"198.51.100.5", "198.51.100.6", "10.0.0.2", "2001:db8::10"} {
		for side, rules := range Destinations(named) {
			_, bad := nat.ForbiddenDestination(netip.MustParseAddr(a), rules)
			if inside := nat.Side(side) == nat.Inside && a == "10.0.0.2"; bad == inside { // inside, our own address there is a peer's, too
				t.Errorf("%s on the %s: forbidden %v", a, nat.Side(side), bad)
			}
		}
	}
}

// TestLoopbackIsAPeerWhereWeAre: a demonstration on loopback has peers there, on that side alone.
func TestLoopbackIsAPeerWhereWeAre(t *testing.T) {
	rules := Destinations(snapshotOf(t, "{ outside: { address: 203.0.113.10 }, inside: { address: 127.0.0.2 }, pbx: { domain: example.com, nodes: [ { address: 127.0.0.3 } ] } }"))
	for side, want := range [2]bool{nat.Outside: true} {
		if _, bad := nat.ForbiddenDestination(netip.MustParseAddr("127.0.0.3"), rules[side]); bad != want {
			t.Errorf("%s: forbidden %v", nat.Side(side), bad)
		}
	}
}
