package event

import (
	"slices"

	"sallyport/nat"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// mayAsk reports whether a source may speak for a leg. The ids of a dialog alone prove nothing.
func (l *leg) mayAsk(ev tu.Arrived) bool {
	at, peer := sameHost(ev.Flow, l.hop.Flow), ev.Peer
	if l.phone() {
		// A phone's own address, any port of it: a NAT may give it another one at any time. Another address only if the
		// phone has registered from there.
		return peer != nil && peer.Kind == tu.KindPhone && (at || l.boundTo(peer))
	}
	if at && ev.Flow.Interface == l.hop.Flow.Interface {
		return true
	}
	// The same peer system: another proxy of the provider, another node of the PBX.
	return peer != nil && peer.SpeaksFor(l.hop.Peer)
}

// boundTo reports whether the leg's address-of-record has a binding on the flow of a peer.
func (l *leg) boundTo(p *tu.Peer) bool {
	return l.hop.Peer.Name != "" && slices.Contains(p.AoRs, l.hop.Peer.Name)
}

func sameHost(a, b nat.Flow) bool { return a.Remote.Addr().Unmap() == b.Remote.Addr().Unmap() }

// maxForged bounds the evidence that one subscription leaves.
const maxForged = 4

// dropped gives a request no answer that came with a phone's ids from where that phone is not.
func (s *Subscription) dropped(from int, ev tu.Arrived, do []tu.Action) []tu.Action {
	do = append(do, tu.Drop{Tx: ev.Tx})
	if s.forged++; s.forged > maxForged {
		return do
	}
	return append(do, tu.Note{
		Source: ev.Flow.Remote, Side: s.legs[from].side(), Realm: nat.Phones, Method: ev.Msg.Method, Why: reason.NotRegistered,
		Text: "a request of a phone's subscription came from an address where that phone is not registered; it was dropped",
	})
}

// arrivedBy lets the leg of a phone follow a request of its dialog: to another port of its address, and to another
// address or transport only if the phone has registered from there. A phone may send a long request by TCP and still
// live at its UDP flow (RFC 3261 §18.1.1).
func (s *Subscription) arrivedBy(from int, ev tu.Arrived, do []tu.Action) []tu.Action {
	l := &s.legs[from]
	if !l.phone() || ev.Flow.Interface != l.hop.Flow.Interface && !l.boundTo(ev.Peer) {
		return do
	}
	return s.move(from, ev.Flow, ev.Here, do)
}

// answeredBy lets the leg of a phone follow a response: a NAT that gave the port to somebody else shows in it first. Who may
// answer is decided where branches are compared.
func (s *Subscription) answeredBy(from int, flow nat.Flow, do []tu.Action) []tu.Action {
	l := &s.legs[from]
	if !l.phone() || flow.Interface != l.hop.Flow.Interface || !sameHost(flow, l.hop.Flow) {
		return do
	}
	return s.move(from, flow, l.hop.Here, do)
}

// moved hears that a phone has registered from elsewhere.
func (s *Subscription) moved(ev tu.Moved, do []tu.Action) []tu.Action {
	if ev.Token == "" {
		return do
	}
	for i := range s.hops {
		if p := s.hops[i].Peer; p.Kind == tu.KindPhone && p.Token == ev.Token {
			s.hops[i].Flow, s.hops[i].Here = ev.Flow, ev.Here
		}
	}
	for i := range s.legs {
		if l := &s.legs[i]; l.phone() && l.hop.Peer.Token == ev.Token {
			do = s.move(i, ev.Flow, ev.Here, do)
		}
	}
	return do
}

// settle makes a hop that was tried the notifier.
func (s *Subscription) settle(h tu.Hop, do []tu.Action) []tu.Action {
	l := &s.legs[notifier]
	before := l.hop.Flow
	if l.hop = h; sameHost(h.Flow, before) {
		return do
	}
	return s.reopen(notifier, do)
}

// move puts the leg of a phone on another flow: what is sent from now on goes there. Where the address is another one, the
// guard hears of it.
func (s *Subscription) move(i int, flow nat.Flow, here tu.Local, do []tu.Action) []tu.Action {
	l := &s.legs[i]
	before := l.hop.Flow
	l.hop.Flow, l.hop.Here = flow, here
	for k := range s.hops {
		if h := &s.hops[k]; i == notifier && h.Peer == l.hop.Peer {
			h.Flow, h.Here = flow, here
		}
	}
	if sameHost(flow, before) {
		return do
	}
	l.brought.AddAddr(flow.Remote.Addr().Unmap())
	return s.reopen(i, do)
}
