package sbc

import (
	"net/netip"
	"slices"
	"time"

	"sallyport/nat"
	"sallyport/sbc/message"
	"sallyport/sbc/trunk"
	"sallyport/sbc/tu"
)

// Detour is the way of a request within a dialog. Nodes of a PBX that stay on the path of dialogs (Record-Route, RFC 3261
// §16.6) and whose far ends are elsewhere stand in for each other: whichever gets a request with its own address in the first
// Route takes it off and goes on to the next one (§16.4). So a request whose node is lost goes by another node of its group,
// always the same one in a dialog; if there is none, past all of them to the far end itself, where that is one of the PBX's
// addresses. A dialog without a route set ends at the node: it has no other way.
func (a *assembly) Detour(now time.Time, m *message.Message, hop tu.Hop, vain netip.AddrPort) (*message.Message, tu.Hop) {
	routes, err := m.NameAddrs("Route")
	if err != nil || len(routes) == 0 {
		return m, hop
	}
	if _, loose := routes[0].URI.Param("lr"); !loose {
		return m, hop // a strict router: the Request-URI is its own (RFC 3261 §12.2.1.1)
	}
	a.listen(now) // nobody hears of a node that is found out only when the request leaves
	at := hop.Flow.Remote
	sys, lost := a.nodeOf(hop.Peer.Realm, hop.Flow.Transport, at)
	if lost == nil || at != vain && a.book.Lives(lost.ID) {
		return m, hop
	}
	for _, h := range a.book.PlanFor(sys.Name, nat.Inside, m.CallID) {
		to := h.Flow.Remote
		if to != at && to != vain && h.Flow.Interface == hop.Flow.Interface && h.Peer.Group == lost.Peer.Group && a.book.Lives(h.ID) {
			other := hop
			other.ID, other.Here = h.ID, h.Here
			other.Flow.Remote, other.Flow.Conn = to, 0
			return rerouted(m, routes, at, to), other
		}
	}
	past := passing(routes)
	next := m.URI
	if len(past) > 0 {
		next = past[0].URI
	}
	direct := hop
	direct.Flow = hop.Toward(next)
	to := direct.Flow.Remote
	if _, node := a.nodeOf(hop.Peer.Realm, direct.Flow.Transport, to); to == at || to == vain || node != nil && !a.book.Lives(node.ID) {
		return m, hop
	}
	return withRoutes(m, past), direct
}

// nodeOf finds the node at an address; nil: none is there. What leaves by a transport that the configuration does not have for it
// counts by another that it has.
func (a *assembly) nodeOf(realm nat.Realm, t nat.Transport, at netip.AddrPort) (in *trunk.System, node *trunk.Hop) {
	for s := range a.book.Nodes {
		if s.Realm != realm {
			continue
		}
		for i := range s.Hops {
			if s.Hops[i].Flow.Remote == at && (node == nil || s.Hops[i].Flow.Transport == t) {
				in, node = s, &s.Hops[i]
			}
		}
	}
	return in, node
}

// rerouted is a copy of a request whose routes by one node lead by another. A node may have more than one, one for each of its
// doors (RFC 5658 §6): they come first and bear its host. Ports that are not its door for us are the other's as well: nodes that
// stand in for each other are configured alike.
func rerouted(m *message.Message, routes []message.NameAddr, from, to netip.AddrPort) *message.Message {
	out := slices.Clone(routes)
	for i := range out {
		if i > 0 && routes[i].URI.Host != routes[0].URI.Host {
			break
		}
		u := &out[i].URI
		u.Host = to.Addr().String()
		if u.Port == from.Port() || u.Port == 0 {
			u.Port = to.Port()
		}
	}
	return withRoutes(m, out)
}

// passing is a route set without the routes of its first node.
func passing(routes []message.NameAddr) []message.NameAddr {
	i := 1
	for i < len(routes) && routes[i].URI.Host == routes[0].URI.Host {
		i++
	}
	return routes[i:]
}

// withRoutes is a copy of a request with other routes.
func withRoutes(m *message.Message, routes []message.NameAddr) *message.Message {
	out := *m
	at := slices.IndexFunc(m.Headers, func(h message.Header) bool { return h.Name == "Route" })
	out.Headers = make([]message.Header, 0, len(m.Headers))
	for i, h := range m.Headers {
		if i == at {
			for _, r := range routes {
				out.Headers = append(out.Headers, message.Header{Name: "Route", Value: r.String()})
			}
		}
		if h.Name != "Route" {
			out.Headers = append(out.Headers, h)
		}
	}
	return &out
}
