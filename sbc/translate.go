package sbc

import (
	"fmt"
	"net/netip"
	"strings"

	"sallyport/nat"
	"sallyport/sbc/api"
	"sallyport/sbc/config"
	"sallyport/sbc/exchange"
	"sallyport/sbc/message"
	"sallyport/sbc/names"
	"sallyport/sbc/scan"
	"sallyport/sbc/trunk"
	"sallyport/sbc/tu"
	"sallyport/sbc/userpart"
)

// Translation asks what a message becomes on the other side.
type Translation struct {
	Message []byte
	// From is who sends it: an address, a trunk's name, pbx, or phone; empty: guessed by its topmost Via, or by From.
	From string
	// To is whom it goes to, where the PBX sends it: a trunk's name, or a phone's user; empty: as it would be routed.
	To string
}

// Translate plays a message through the configuration, as it would pass: by the code that passes messages, with nobody at
// either end. An error tells what is to be asked otherwise.
func Translate(snap *config.Snapshot, q Translation) (Translated, error) {
	var out Translated
	m, err := readable(q.Message)
	if err != nil {
		return out, err
	}
	tags, key := rehearsed()
	w := newWorld(names.StandIns(snap), tags, key)
	t := &translator{w: w, m: m, a: &assembly{world: w, book: trunk.NewBook(w.systems, nil), phones: newPhones(key, tags)}}
	t.a.phones.configure(w)
	from, guessed, err := t.sender(q.From)
	if err != nil {
		return out, err
	}
	out.From = describeHop(&from)
	if guessed {
		out.From += " (a guess; --from ADDRESS says otherwise)"
	}
	if !admits(&from, m) {
		out.Refused = "405 " + message.Phrase(405) + ": no " + m.Method + " is taken from there"
		return out, nil
	}
	s := &crossing{from: from}
	if s.plan, err = t.receiver(&from, q.To); err != nil {
		return out, err
	}
	out.From = describeHop(&from)
	if guessed {
		out.From += " (a guess; --from ADDRESS says otherwise)"
	}
	if len(s.plan.Hops) == 0 {
		out.Refused = fmt.Sprintf("%d %s: %s", s.plan.Code, message.Phrase(s.plan.Code), s.plan.Why)
		return out, nil
	}
	s.plan.Hops = s.plan.Hops[:1]
	s.to = s.plan.Hops[0]
	out.To = describeHop(&s.to)
	out.Presets = presetsOf(snap, &s.from, &s.to)
	t.explain(s, &out)
	return out, nil
}

// admits reports whether a request of that method is taken from a peer (see assembly.New).
func admits(from *tu.Hop, m *message.Message) bool {
	switch m.Method {
	case "INVITE", "ACK", "BYE", "PRACK", "UPDATE", "REFER":
		return true
	case "REGISTER":
		return from.Peer.Kind == tu.KindPhone || !m.IsRequest()
	case "SUBSCRIBE", "PUBLISH":
		return from.Peer.Kind != tu.KindTrunk || !m.IsRequest()
	}
	return exchange.Passes(m.Method)
}

// translator is one message under translation.
type translator struct {
	w *world
	a *assembly
	m *message.Message
}

// readable reads a message from a file, with whichever line ends.
func readable(data []byte) (*message.Message, error) {
	const hint = "write one whole SIP message, from the start line to the empty line behind its fields, and the body if it has one"
	data = onTheWire(data)
	var v scan.View
	if err := scan.Scan(data, &v); err != nil {
		return nil, api.BadRequest(hint, "the message cannot be read: %s", err)
	}
	m, err := message.Parse(data, &v)
	if err != nil {
		return nil, api.BadRequest(hint, "the message cannot be read: %s", message.Refusal(err).Detail)
	}
	if m.Method == "CANCEL" && m.IsRequest() {
		return nil, api.BadRequest("try the INVITE that it ends", "a CANCEL is made anew on the other side, with the names of the INVITE there")
	}
	return m, nil
}

// sender is who sends the message.
func (t *translator) sender(name string) (hop tu.Hop, guessed bool, err error) {
	switch {
	case name == "phone":
		return t.phoneHop(t.m.From.URI.User, netip.AddrPort{})
	case name == "pbx":
		if hop, ok := t.node(netip.Addr{}); ok {
			return hop, false, nil
		}
		return hop, false, api.BadRequest("add a node to pbx.nodes", "the PBX has no node for that")
	case name != "":
		if plan := t.a.book.Plan(name, nat.Outside); len(plan) > 0 {
			return plan[0], false, nil
		}
		at, err := sourceOf(name)
		if err != nil {
			return hop, false, api.BadRequest("write an address, the name of a trunk, pbx or phone", "%q is none of them", name)
		}
		hop, err = t.at(at)
		return hop, false, err
	}
	host := t.m.Via[0].Host
	if !t.m.IsRequest() { // its Via is ours; who answers is whom To names
		host = t.m.To.URI.Host
	}
	for _, h := range []string{host, t.m.From.URI.Host} {
		if a, err := netip.ParseAddr(h); err == nil {
			port := t.m.Via[0].Port
			if port == 0 || !t.m.IsRequest() {
				port = 5060
			}
			hop, err = t.at(netip.AddrPortFrom(a, port))
			return hop, true, err
		}
	}
	if strings.EqualFold(host, t.w.snap.PBX.Domain) {
		if hop, ok := t.node(netip.Addr{}); ok {
			return hop, true, nil
		}
	}
	return hop, false, api.BadRequest("say who sends it: --from ADDRESS, or a trunk's name, pbx or phone", "neither its Via nor its names tell who sends the message")
}

// at is who sends from an address: a trunk, the PBX, or else a phone.
func (t *translator) at(at netip.AddrPort) (tu.Hop, error) {
	if p := t.trunkAt(at); p != nil {
		return nearest(t.a.book.Plan(p.Name, nat.Outside), at), nil
	}
	if t.a.book.Identify(nat.Inside, nat.Trunks, at.Addr()) != nil || t.a.book.Identify(nat.Inside, nat.Phones, at.Addr()) != nil {
		if hop, ok := t.node(at.Addr()); ok {
			return hop, nil
		}
	}
	hop, _, err := t.phoneHop(t.m.From.URI.User, at)
	return hop, err
}

// trunkAt is the trunk that sends the message from an address; where several may, what it says tells which.
func (t *translator) trunkAt(at netip.AddrPort) *tu.Peer {
	p := t.a.book.Identify(nat.Outside, nat.Trunks, at.Addr())
	if p == nil || len(p.Also) == 0 || !t.m.IsRequest() {
		return p
	}
	flow := nat.Flow{Remote: at}
	if tr, ok := nat.ParseTransport(strings.ToLower(t.m.Via[0].Transport)); ok {
		flow.Transport = tr
	}
	p, _ = t.a.choose(&nat.Interface{Side: nat.Outside, Realm: nat.Trunks}, flow, t.m)
	return p
}

// nearest is the hop at an address, else the first, with the address.
func nearest(plan []tu.Hop, at netip.AddrPort) tu.Hop {
	for _, h := range plan {
		if h.Flow.Remote.Addr() == at.Addr().Unmap() {
			return h
		}
	}
	h := plan[0]
	if at.Addr().IsValid() {
		h.Flow.Remote = at
	}
	return h
}

// node is the PBX, as it sends to trunks; where it serves phones alone, as it sends to them.
func (t *translator) node(at netip.Addr) (tu.Hop, bool) {
	for _, name := range []string{pbxName, pbxPhones} {
		if plan := t.a.book.Plan(name, nat.Inside); len(plan) > 0 {
			return nearest(plan, netip.AddrPortFrom(at, 5060)), true
		}
	}
	return tu.Hop{}, false
}

// standIn is where a phone would be (RFC 5737).
var standIn = netip.MustParseAddrPort("192.0.2.204:5060")

// phoneHop is a registered phone of a user, at an address.
func (t *translator) phoneHop(user string, at netip.AddrPort) (hop tu.Hop, guessed bool, err error) {
	if !at.IsValid() {
		at = standIn
	}
	for _, f := range t.w.faces() {
		if f.Side != nat.Outside || f.Realm != nat.Phones || f.Bind.Addr().Is4() != at.Addr().Unmap().Is4() {
			continue
		}
		peer := *t.a.phones.template
		peer.Name = userpart.Canonical(user) + "@" + t.w.snap.PBX.Domain
		peer.AoRs, peer.Token = []string{peer.Name}, "token"
		return tu.Hop{
			ID: "phone", Peer: &peer, Here: t.w.local(f, at.Addr(), netip.Addr{}), Flow: nat.Flow{Interface: f.ID, Transport: f.Transport, Remote: at},
			Target: &message.URI{Scheme: "sip", User: user, Host: at.Addr().String(), Port: at.Port()},
		}, false, nil
	}
	return hop, false, api.BadRequest("name a trunk, or pbx, or open outside.phones", "%s would be a phone, and nobody listens for it there", at.Addr())
}

// receiver is where the message goes: the plan of its request.
func (t *translator) receiver(from *tu.Hop, to string) (plan tu.Routed, err error) {
	if from.Peer.Kind != tu.KindNode {
		switch {
		case from.Peer.Kind == tu.KindPhone:
			return t.a.toPBX(t.a.book.Plan(pbxPhones, nat.Inside)), nil
		case t.m.IsRequest():
			return t.a.toNodes(from.Peer.Name, t.m), nil
		}
		return t.a.toPBX(t.a.book.Plan(pbxName, nat.Inside)), nil
	}
	asked := t.m.URI
	if !t.m.IsRequest() { // who asked is whom From names
		asked = t.m.From.URI
	}
	switch hops := t.a.book.Plan(to, nat.Outside); {
	case to != "" && len(hops) > 0:
		return tu.Routed{Hops: hops}, nil
	case to != "" && to != "phone":
		asked.User, _, _ = strings.Cut(to, "@")
	case to == "":
		if at, err := netip.ParseAddr(asked.Host); err == nil && !t.m.IsRequest() {
			if p := t.a.book.Identify(nat.Outside, nat.Trunks, at); p != nil {
				return tu.Routed{Hops: t.a.book.Plan(p.Name, nat.Outside)}, nil
			}
		}
		plan = t.a.Route(rehearsalTime, tu.Route{Msg: t.m, Peer: from.Peer})
		if len(plan.Hops) > 0 {
			return plan, nil
		}
	}
	phone, _, err := t.phoneHop(asked.User, netip.AddrPort{})
	if err != nil {
		return plan, err
	}
	if inside := t.a.book.Plan(pbxPhones, nat.Inside); len(inside) > 0 {
		*from = nearest(inside, from.Flow.Remote)
	}
	return tu.Routed{Hops: []tu.Hop{phone}}, nil
}

// describeHop names a peer and where it is.
func describeHop(h *tu.Hop) string {
	switch h.Peer.Kind {
	case tu.KindTrunk:
		return "trunk " + h.Peer.Name + " at " + h.Flow.Remote.String()
	case tu.KindNode:
		return "the PBX at " + h.Flow.Remote.String()
	default:
		return "phone " + h.Peer.Name + " at " + h.Flow.Remote.String()
	}
}

// presetsOf is what the presets of the trunk at either end have set.
func presetsOf(snap *config.Snapshot, ends ...*tu.Hop) (list []string) {
	for _, h := range ends {
		if h.Peer.Kind != tu.KindTrunk {
			continue
		}
		set, _ := snap.PresetsOf(h.Peer.Name)
		for _, v := range set {
			list = append(list, v.String())
		}
	}
	return list
}
