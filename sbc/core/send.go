package core

import (
	"slices"
	"time"

	"go.uber.org/zap"

	"sallyport/nat"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/transaction"
	"sallyport/sbc/tu"
)

// transmit hands bytes to the edge. What cannot be sent counts as lost: timers repeat it or give up.
func (c *Core) transmit(to nat.Flow, b []byte) {
	if err := c.cfg.Sender.Send(to, b); err != nil {
		c.gauges.SendErrors.Add(1)
	}
}

// respond sends a response on a server transaction, after the leak guard's look.
func (c *Core) respond(now time.Time, u *user, a tu.Respond) {
	if u != nil {
		c.guardLeaks(a.Side, a.Msg, a.Hide) // a response is repaired and sent, whatever is found
	}
	effects, err := c.table.Respond(now, transaction.ID(a.Tx), a.Msg, c.effects)
	c.effects = effects
	if err != nil {
		c.cfg.Log.Debug("response not sent", zap.Error(err), zap.Int("code", a.Msg.Status))
	}
}

// guardLeaks is the last step before a message leaves a side.
func (c *Core) guardLeaks(side nat.Side, m *message.Message, hide *tu.Secrets) (repaired bool) {
	hits, ok := c.cfg.Leaks.Check(side, m, hide)
	if hits > 0 {
		c.gauges.Leaks.Add(int64(hits))
	}
	if !ok {
		c.gauges.LeaksFatal.Add(1)
	}
	return ok
}

// send opens a client transaction: our Via with a fresh branch, the leak guard, the table.
func (c *Core) send(now time.Time, u *user, a tu.Send) {
	side := a.Hop.Peer.Side
	c.sequence(side, a.Msg)
	if !c.guardLeaks(side, a.Msg, a.Hide) && a.Msg.Method != "BYE" {
		c.tell(u.id, tu.Failed{Ref: a.Ref, Code: 500, Why: reason.Leak})
		return
	}
	a.Msg.Via = []message.Via{c.via(a.Hop.Here)}
	effects, err := c.table.Send(now, uint64(u.id), uint32(a.Ref), a.Msg, a.Hop.Flow, c.effects)
	c.effects = effects
	if err != nil {
		c.cfg.Log.Debug("request not sent", zap.Error(err), zap.String("method", a.Msg.Method))
		c.tell(u.id, tu.Failed{Ref: a.Ref, Code: 503, Why: reason.Overload})
	}
}

// sendAck sends the ACK for a 2xx outside any transaction.
func (c *Core) sendAck(_ *user, a tu.SendAck) {
	c.guardLeaks(a.Hop.Peer.Side, a.Msg, a.Hide)
	a.Msg.Via = []message.Via{c.via(a.Hop.Here)}
	b, err := a.Msg.Append(nil)
	if err != nil {
		c.cfg.Log.Debug("ACK not sent", zap.Error(err))
		return
	}
	c.transmit(a.Hop.Flow, b)
}

// via is our hop: the address that the peer knows us by, and rport, so that an answer finds us through its NAT too.
func (c *Core) via(here tu.Local) message.Via {
	v := message.Via{
		Transport: here.Transport.Via(), Host: here.Signal.Addr().String(), Port: here.Signal.Port(),
		Branch: c.ids.Branch(), RPort: -1,
	}
	if !here.Transport.Reliable() {
		v.RPort = 0
	}
	return v
}

// sequence notes the highest CSeq and last target of each dialog, and fills them in for an aborted user, whose
// requests carry no number.
func (c *Core) sequence(side nat.Side, m *message.Message) {
	d := c.dialogs[dialogKey{side: side, callID: m.CallID, local: m.From.Tag}]
	if d == nil {
		if m.CSeq == 0 {
			m.CSeq = 1
		}
		return
	}
	if m.CSeq == 0 {
		m.CSeq = d.seq + 1
		if d.target.Scheme != "" {
			m.URI = d.target
		}
	}
	d.seq = max(d.seq, m.CSeq)
	if m.To.Tag != "" {
		d.target = m.URI
	}
}

// hangUpLate ends a dialog that a late 2xx made after its user had gone: "If the UAC … receives a 2xx, it sends an ACK
// and then a BYE" (RFC 3261 §9.1, §13.2.2.4). What it needs stands in the response.
func (c *Core) hangUpLate(now time.Time, e *transaction.Effect) {
	ack := c.lateRequest(e.Msg, "ACK")
	if b, err := ack.Append(nil); err == nil {
		c.transmit(e.Flow, b)
	}
	if e.Repeat {
		return // its BYE is on the way
	}
	c.effects, _ = c.table.Send(now, 0, 0, c.lateRequest(e.Msg, "BYE"), e.Flow, c.effects) // nobody waits for the answer
}

func (c *Core) lateRequest(ok *message.Message, method string) *message.Message {
	m := &message.Message{
		Method: method, URI: ok.To.URI, From: ok.From, To: ok.To, CallID: ok.CallID, CSeq: ok.CSeq, MaxForwards: 70,
	}
	via := ok.Via[0]
	m.Via = []message.Via{{
		Transport: via.Transport, Host: via.Host, Port: via.Port, Branch: c.ids.Branch(), RPort: min(via.RPort, 0),
	}}
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
