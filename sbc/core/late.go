package core

import (
	"net/netip"
	"slices"
	"time"

	"go.uber.org/zap"

	"sallyport/nat"
	"sallyport/sbc/message"
	"sallyport/sbc/transaction"
	"sallyport/sbc/tu"
)

// hangUpLate ends a dialog that a late 2xx made after its user had gone: "If the UAC … receives a 2xx, it sends an ACK
// and then a BYE" (RFC 3261 §9.1, §13.2.2.4). What it needs stands in the response.
func (c *Core) hangUpLate(now time.Time, e *transaction.Effect) {
	peer, here, side := c.cfg.Assembly.Identify(e.Flow)
	ack := c.lateRequest(e.Msg, here, "ACK")
	to := lateHop(ack, e.Flow, peer)
	c.write(ack, to)
	if e.Repeat || e.Within && c.goesOn(e.Msg, side) {
		return // its BYE is on the way, or none is wanted
	}
	effects, err := c.table.Send(now, 0, 0, c.lateRequest(e.Msg, here, "BYE"), to, c.effects) // nobody waits for the answer
	c.effects = effects
	if err != nil {
		c.cfg.Log.Warn("a late answer could not be hung up", zap.Error(err), zap.Stringer("src", e.Flow.Remote))
	}
}

// goesOn reports whether a late 2xx is that of a re-INVITE which was given up, in a dialog that still stands.
func (c *Core) goesOn(ok *message.Message, side nat.Side) bool {
	d := c.dialogs[dialogKey{side: side, callID: ok.CallID, local: ok.From.Tag}]
	return d != nil && d.remote != "" && d.remote == ok.To.Tag
}

// lateRequest is a request within the dialog of a 2xx (RFC 3261 §12.1.2: the routes in reverse, the Contact as target).
func (c *Core) lateRequest(ok *message.Message, here tu.Local, method string) *message.Message {
	m := &message.Message{
		Method: method, URI: ok.To.URI, From: ok.From, To: ok.To, CallID: ok.CallID, CSeq: ok.CSeq, MaxForwards: 70,
	}
	m.Via = []message.Via{c.via(here)}
	if !here.Signal.IsValid() { // the interface is gone from the configuration: as the INVITE was sent
		via := ok.Via[0]
		m.Via[0].Transport, m.Via[0].Host, m.Via[0].Port = via.Transport, via.Host, via.Port
	}
	if list, star, err := ok.Contacts(); err == nil && !star && len(list) == 1 {
		m.URI = list[0].URI
	}
	if routes, err := ok.NameAddrs("Record-Route"); err == nil {
		for _, r := range slices.Backward(routes) {
			m.Add("Route", r.String())
		}
	}
	if method != "ACK" {
		m.CSeq++
	}
	return m
}

// lateHop is where it goes: the first route, else the target (RFC 3261 §12.2.1.1), if that lies within the peer's
// addresses; else to where the 2xx came from.
func lateHop(m *message.Message, from nat.Flow, peer *tu.Peer) nat.Flow {
	if from.Transport.Reliable() || peer == nil || peer.Kind == tu.KindPhone {
		return from
	}
	uri := m.URI
	if routes, err := m.NameAddrs("Route"); err == nil && len(routes) > 0 {
		uri = routes[0].URI
	}
	addr, err := netip.ParseAddr(uri.Host)
	if err != nil || !slices.ContainsFunc(peer.Reach, func(p netip.Prefix) bool { return p.Contains(addr.Unmap()) }) {
		return from
	}
	from.Remote = netip.AddrPortFrom(addr.Unmap(), portOr5060(uri.Port))
	return from
}
