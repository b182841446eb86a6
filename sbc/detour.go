package sbc

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"sallyport/nat"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/trunk"
	"sallyport/sbc/tu"
)

// Detour is the way of a request within a dialog. Nodes of a PBX that stay on the path of dialogs (Record-Route, RFC 3261
// §16.6) and whose far ends are elsewhere stand in for each other: whichever gets a request with its own address in the first
// Route takes it off and goes on to the next one (§16.4). So a request whose node is lost goes by another node of its group,
// always the same one in a dialog; if there is none, past all of them to the far end itself, where that is one of the PBX's
// addresses. A dialog without a route set ends at the node: it has no other way.
func (a *assembly) Detour(now time.Time, m *message.Message, hop tu.Hop, vain netip.AddrPort) (*message.Message, tu.Hop) {
	a.count(now) // a node may be found out only now; what follows waits until the request leaves (MayLeave)
	at := hop.Flow.Remote
	sys, lost := a.nodeOf(hop.Peer.Realm, hop.Flow)
	if lost == nil || at != vain && a.book.Lives(lost.ID) {
		return m, hop
	}
	routes, err := m.NameAddrs("Route")
	if err != nil || len(routes) == 0 {
		a.noDetour(now, m, lost, "the dialog ends there")
		return m, hop
	}
	strict := strictly(m, routes, &hop, at)
	secure := m.URI.Scheme == "sips" || !strict && routes[0].URI.Scheme == "sips"
	if h, ok := a.standIn(sys, lost, &hop, vain, m.CallID, secure); ok {
		other := hop
		other.ID, other.Here, other.Flow = h.ID, h.Here, h.Flow
		if strict {
			out := *m
			moveTo(&out.URI, lost.Flow, h.Flow)
			return &out, other
		}
		return rerouted(m, routes, lost.Flow, h.Flow), other
	}
	past, next := withRoutes(m, passing(routes)), m.URI
	if strict {
		past, next = passedStrictly(m, routes), routes[0].URI
	} else if left := passing(routes); len(left) > 0 {
		next = left[0].URI
	}
	direct := hop
	direct.Flow = hop.Toward(next)
	to := direct.Flow.Remote
	if _, node := a.nodeOf(hop.Peer.Realm, direct.Flow); to == at || to == vain || node != nil && !a.book.Lives(node.ID) {
		a.noDetour(now, m, lost, "no other node of its group is there, and the far end is no address of the PBX")
		return m, hop
	}
	return past, direct
}

// standIn is the node that goes on for a lost one: of its group, by the same listener of ours where there is one, else by another one.
// What must stay on TLS does (RFC 3261 §26.2.2).
func (a *assembly) standIn(sys *trunk.System, lost *trunk.Hop, hop *tu.Hop, vain netip.AddrPort, key string, secure bool) (found tu.Hop, ok bool) {
	for _, h := range a.book.PlanFor(sys.Name, nat.Inside, key) {
		to := h.Flow.Remote
		if h.ID == lost.ID || to == hop.Flow.Remote || to == vain || h.Peer.Group != lost.Peer.Group || !a.book.Lives(h.ID) {
			continue
		}
		if h.Flow.Interface == hop.Flow.Interface {
			return h, true
		}
		if !ok && (!secure || h.Flow.Transport.Secure()) {
			found, ok = h, true
		}
	}
	return found, ok
}

// noDetour leaves word that a request has to wait for a node that is lost.
func (a *assembly) noDetour(now time.Time, m *message.Message, lost *trunk.Hop, why string) {
	if m.Method == "ACK" || a.book.Lives(lost.ID) {
		return
	}
	a.Note(now, tu.Note{
		Source: lost.Flow.Remote, Transport: lost.Flow.Transport, Side: nat.Inside, Realm: lost.Peer.Realm, Method: m.Method, Why: reason.NoPBX,
		Text: "the node is down and nobody passes on what belongs to its calls: " + why,
	})
}

// nodeOf finds the node that a flow leads to, and the nodes of the realm that it leaves by; nil: no node is there.
func (a *assembly) nodeOf(realm nat.Realm, f nat.Flow) (in *trunk.System, node *trunk.Hop) {
	w := a.watch()
	if node = w.To(realm, f); node != nil {
		in = w.System(realm)
	}
	return in, node
}

// strictly reports whether a request goes to a router that knows nothing of loose ones: then that stands in the Request-URI, and where the
// request is for is the last Route (RFC 3261 §12.2.1.1).
func strictly(m *message.Message, routes []message.NameAddr, hop *tu.Hop, at netip.AddrPort) bool {
	if _, loose := routes[0].URI.Param("lr"); loose && hop.Toward(routes[0].URI).Remote == at {
		return false
	}
	return hop.Toward(m.URI).Remote == at
}

// passedStrictly is a copy of a request without its first node, a strict router: what follows that is the Request-URI as far as it is
// strict itself, and goes where the request is for else.
func passedStrictly(m *message.Message, routes []message.NameAddr) *message.Message {
	last := len(routes) - 1
	left, uri := routes[:last], routes[last].URI
	if _, loose := routes[0].URI.Param("lr"); !loose && last > 0 {
		left, uri = routes[1:], routes[0].URI
	}
	out := withRoutes(m, left)
	out.URI = uri
	return out
}

// rerouted is a copy of a request whose routes by one node lead by another. A node may have more than one, one for each of its
// doors (RFC 5658 §6): they come first and bear its host. Ports that are not its door for us are the other's as well: nodes that
// stand in for each other are configured alike.
func rerouted(m *message.Message, routes []message.NameAddr, from, to nat.Flow) *message.Message {
	out := slices.Clone(routes)
	for i := range out {
		if i > 0 && routes[i].URI.Host != routes[0].URI.Host {
			break
		}
		moveTo(&out[i].URI, from, to)
	}
	return withRoutes(m, out)
}

// moveTo has a URI of one node name another one, and the transport by which that is reached, if it has named one.
func moveTo(u *message.URI, from, to nat.Flow) {
	u.Host = to.Remote.Addr().String()
	if u.Port != from.Remote.Port() && u.Port != 0 {
		return
	}
	u.Port = to.Remote.Port()
	if name, named := u.Param("transport"); named && from.Transport != to.Transport && strings.EqualFold(name, from.Transport.Param()) {
		var kept strings.Builder
		for p := range strings.SplitSeq(strings.TrimPrefix(u.Params, ";"), ";") {
			if key, _, _ := strings.Cut(p, "="); strings.EqualFold(key, "transport") {
				p = "transport=" + to.Transport.Param()
			}
			kept.WriteString(";" + p)
		}
		u.Params = kept.String()
	}
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
