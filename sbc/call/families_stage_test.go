package call

import (
	"fmt"
	"net/netip"
	"strings"

	"sallyport/nat"
	"sallyport/sbc/tu"
)

// The stage's IPv6: a provider with one proxy and a phone outside, a node of the PBX inside. phone64 lives in a network that has
// IPv6 alone, and reaches us through a translator (RFC 6146): we see an IPv4 address that it knows nothing of.
var (
	gate6 = [2]netip.Addr{nat.Outside: netip.MustParseAddr("2001:db8::10"), nat.Inside: netip.MustParseAddr("fd00::2")}
	six   = map[string]netip.AddrPort{
		"itsp": netip.MustParseAddrPort("[2001:db8::20]:5060"), "node": netip.MustParseAddrPort("[fd00::10]:5060"),
		"pbx": netip.MustParseAddrPort("[fd00::10]:5060"),
	}
)

func init() {
	phoneAt["phone6"] = onStage{"209", nat.Flow{Interface: 7, Remote: netip.MustParseAddrPort("[2001:db8:7::5]:5062")}, "[2001:db8:7::5]:5062"}
	phoneAt["phone64"] = onStage{"210", nat.Flow{Interface: 2, Remote: netip.AddrPortFrom(home, 40164)}, "[2001:db8:64::5]:5062"}
}

// gateFor is our address on a side in the family of a peer's.
func gateFor(side nat.Side, peer netip.Addr) netip.Addr {
	if peer.Is6() {
		return gate6[side]
	}
	return gate[side]
}

// sixHop is a hop whose name ends in 6: itsp6, node6, pbx6; both6 and bothnode6 have media addresses of both families. tlsitsp
// is itsp1 over TLS.
func sixHop(name string) (h tu.Hop, is bool) {
	both := false
	switch name {
	case "both6", "both":
		name, both = map[string]string{"both6": "itsp6", "both": "itsp1"}[name], true
	case "bothnode6":
		name, both = "node6", true
	}
	switch name {
	case "itsp1":
		if !both {
			return h, false
		}
		h = stageHop(name)
	case "itsp6", "node6", "pbx6":
		h = stageHop(name[:len(name)-1] + "1")
		at, peer := six[name[:len(name)-1]], *h.Peer
		h.ID, h.Flow.Remote, h.Flow.Interface = name, at, h.Flow.Interface+10
		h.Here = tu.Local{Interface: h.Flow.Interface, Signal: netip.AddrPortFrom(gate6[peer.Side], h.Here.Signal.Port()), Media: gate6[peer.Side]}
		if peer.Side == nat.Outside {
			peer.Host, peer.Reach = "["+at.Addr().String()+"]", []netip.Prefix{netip.MustParsePrefix("2001:db8::20/124")}
		} else {
			peer.Name, peer.Reach = at.String(), []netip.Prefix{netip.MustParsePrefix("fd00::/8")}
		}
		h.Peer = &peer
	case "tlsitsp":
		h = stageHop("itsp1")
		h.Flow.Transport, h.Here.Transport, h.Flow.Conn = nat.TLS, nat.TLS, 9
		h.Flow.Remote = netip.AddrPortFrom(itsp1.Addr(), 5061)
		h.Here.Signal = netip.AddrPortFrom(h.Here.Signal.Addr(), 5081)
	default:
		return h, false
	}
	if both {
		h.Here.Other = gateFor(h.Peer.Side, map[bool]netip.Addr{true: gate[0], false: gate6[0]}[h.Here.Media.Is6()])
	}
	return h, true
}

// network is an address as session descriptions write it.
func network(a netip.Addr) string {
	if a.Is6() {
		return "IN IP6 " + a.String()
	}
	return "IN IP4 " + a.String()
}

// onStage is a phone of the stage: its user, where it is, and what it thinks of it: host and port of its Contact.
type onStage = struct {
	user string
	flow nat.Flow
	own  string
}

// describeAlternatives writes a description with two streams at addresses of their own; anat: they are one stream (RFC 4091).
func describeAlternatives(list string, anat bool) []byte {
	body := "v=0\r\no=FreeSWITCH 1 1 IN IP4 203.0.113.20\r\ns=FreeSWITCH\r\nt=0 0\r\n"
	if anat {
		body += "a=group:ANAT 1 2\r\n"
	}
	for i, a := range strings.Split(list, ",") {
		addr := netip.MustParseAddr(a)
		body += fmt.Sprintf("m=audio %d RTP/AVP 0\r\nc=%s\r\na=mid:%d\r\n", 4000+2*i, network(addr), i+1)
	}
	return []byte(body)
}
