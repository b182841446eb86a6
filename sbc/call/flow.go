package call

import (
	"net/netip"
	"slices"

	"sallyport/media/sdp"
	"sallyport/nat"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// phone reports whether a leg is that of a roaming phone: it is reached by its flow alone (RFC 5626 §2), whatever its
// Contact says, and its flow may move.
func (l *leg) phone() bool { return l.peer != nil && l.peer.Kind == tu.KindPhone }

// mayAsk reports whether a source may speak for a leg. The ids of a dialog alone prove nothing.
func (c *Call) mayAsk(from int, ev tu.Arrived) bool {
	l := &c.legs[from]
	at := ev.Flow.Remote.Addr().Unmap() == l.hop.Flow.Remote.Addr().Unmap()
	if l.phone() {
		// A phone's own address, any port of it: a NAT may give it another one at any time. Another address only if the
		// phone has registered from there.
		return ev.Peer != nil && ev.Peer.Kind == tu.KindPhone &&
			(at || l.peer.Name != "" && slices.Contains(ev.Peer.AoRs, l.peer.Name))
	}
	if at && ev.Flow.Interface == l.hop.Flow.Interface {
		return true
	}
	// The same peer system: another proxy of the provider, another node of the PBX.
	return ev.Peer != nil && ev.Peer.SpeaksFor(l.peer)
}

// maxForged bounds the evidence that one call leaves.
const maxForged = 4

// dropped gives a request no answer that came with a phone's ids from where that phone is not.
func (c *Call) dropped(ev tu.Arrived, do []tu.Action) []tu.Action {
	do = append(do, tu.Drop{Tx: ev.Tx})
	if c.forged++; c.forged > maxForged {
		return do
	}
	return append(do, tu.Note{
		Source: ev.Flow.Remote, Side: c.sideOf(ev), Realm: nat.Phones, Method: ev.Msg.Method, Why: reason.NotRegistered,
		Text: "a request of a phone's call came from an address where that phone is not registered; it was dropped",
	})
}

// arrivedBy lets the leg of a phone follow a request of its dialog: to another port of its address, and to another
// address or transport only if the phone has registered from there. A phone may send a long request by TCP and still
// live at its UDP flow (RFC 3261 §18.1.1).
func (c *Call) arrivedBy(from int, ev tu.Arrived, do []tu.Action) []tu.Action {
	l := &c.legs[from]
	if !l.phone() || ev.Flow.Interface != l.hop.Flow.Interface && !slices.Contains(ev.Peer.AoRs, l.peer.Name) {
		return do
	}
	return c.move(from, ev.Flow, ev.Here, do)
}

// answeredBy lets the leg of a phone follow a response: a NAT that gave the port to somebody else while the phone rang shows
// in it first. Who may answer is decided where branches are compared.
func (c *Call) answeredBy(from int, flow nat.Flow, do []tu.Action) []tu.Action {
	l := &c.legs[from]
	if !l.phone() || flow.Interface != l.hop.Flow.Interface || !sameHost(flow, l.hop.Flow) {
		return do
	}
	return c.move(from, flow, l.hop.Here, do)
}

func sameHost(a, b nat.Flow) bool { return a.Remote.Addr().Unmap() == b.Remote.Addr().Unmap() }

// moved hears that a phone has registered from elsewhere. A call that is still on its way there goes to the new place, too.
func (c *Call) moved(ev tu.Moved, do []tu.Action) []tu.Action {
	if ev.Token == "" {
		return do
	}
	for i := range c.hops {
		if p := c.hops[i].Peer; p.Kind == tu.KindPhone && p.Token == ev.Token {
			c.hops[i].Flow, c.hops[i].Here = ev.Flow, ev.Here
		}
	}
	for l := range c.legs {
		if c.legs[l].phone() && c.legs[l].peer.Token == ev.Token {
			do = c.move(l, ev.Flow, ev.Here, do)
		}
	}
	return do
}

// Tokens are those of the phones that the call has legs of.
func (c *Call) Tokens() (out []string) {
	for l := range c.legs {
		if c.legs[l].phone() && c.legs[l].peer.Token != "" {
			out = append(out, c.legs[l].peer.Token)
		}
	}
	return out
}

// move puts the leg of a phone on another flow. What is sent from now on goes there; where the address is another one, the
// guard hears of it, and the relay lets the phone's media follow.
func (c *Call) move(l int, flow nat.Flow, here tu.Local, do []tu.Action) []tu.Action {
	leg := &c.legs[l]
	before := leg.hop.Flow
	if flow == before {
		return do
	}
	here.Media = leg.hop.Here.Media // the ports stay where they are
	leg.hop.Flow, leg.hop.Here = flow, here
	for i := range c.acks {
		if c.acks[i].to == l {
			c.acks[i].hop = leg.hop
		}
	}
	if l == callee {
		for i := range c.attempts {
			if c.attempts[i].hop.Peer == leg.peer {
				c.attempts[i].hop.Flow, c.attempts[i].hop.Here = flow, here
			}
		}
	}
	if c.phase == ending || sameHost(flow, before) {
		return do
	}
	leg.brought.AddAddr(flow.Remote.Addr().Unmap())
	return c.followMedia(l, c.openAgain(l, do))
}

// openAgain tells the guard where requests of a leg's dialogs come from now.
func (c *Call) openAgain(l int, do []tu.Action) []tu.Action {
	leg := &c.legs[l]
	open := func(tag string) {
		do = append(do, tu.OpenDialog{Side: leg.peer.Side, CallID: leg.callID, Local: tag, Source: leg.hop.Flow.Remote.Addr()})
	}
	if l == callee {
		open(leg.tag) // its forks have our tag in common
		return do
	}
	for i := range c.pairs {
		if tag := c.pairs[i].dlg[caller].Local.Tag; tag != "" {
			open(tag)
		}
	}
	return do
}

// followMedia judges what a leg's peer has said of its media by its new address, and permits a new latch: a phone that has
// changed its network sends from there at once, and offers anew later or never.
func (c *Call) followMedia(l int, do []tu.Action) []tu.Action {
	m := &c.legs[l].media
	if len(m.in) == 0 {
		return do
	}
	s, err := sdp.Parse(m.in)
	if err != nil {
		return do
	}
	if c.restrict(l, s, true) != nil {
		return do // what was declined of it stays so
	}
	aims, err := c.aims(l, s, func(i int) bool { now := m.shaken(i); return now.checked() })
	if err != nil {
		return do
	}
	aims = aims[:min(len(aims), len(m.aims))] // ports that have come since are for what has been offered since
	m.keepSeals(aims)
	m.epoch++
	for i := range aims {
		aims[i].Epoch = m.epoch
	}
	m.aims = aims
	other := c.legs[1-l].media.aims
	final := c.won >= 0 && (c.offered || c.phase == established)
	for i, a := range aims {
		if i < len(other) {
			a.Payloads = union(a.Payloads, other[i].Payloads)
			a.Final = final
		}
		if final && c.dead(i) {
			idle(&a)
		}
		do = c.pointAt(l, i, a, do)
	}
	return do
}

func union(a, b tu.Payloads) tu.Payloads { return tu.Payloads{a[0] | b[0], a[1] | b[1]} }

// fallback is where media goes while the SDP's address cannot be used: the signalling address, if the relay has a socket
// of its family.
func (l *leg) fallback() netip.Addr {
	a := l.hop.Flow.Remote.Addr().Unmap()
	if m := l.hop.Here.Media; m.IsValid() && m.Unmap().Is4() != a.Is4() {
		return netip.Addr{}
	}
	return a
}
