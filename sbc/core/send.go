package core

import (
	"errors"
	"net/netip"
	"time"

	"go.uber.org/zap"

	"sallyport/nat"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/transaction"
	"sallyport/sbc/tu"
)

// transmit hands bytes to the edge. What cannot be sent counts as lost: timers repeat it or give up. Over a connection
// nothing is repeated, so one that is gone fails its requests at once (RFC 3261 §18.4).
func (c *Core) transmit(now time.Time, to nat.Flow, b []byte) {
	err := c.cfg.Sender.Send(to, b)
	if err == nil {
		return
	}
	c.gauges.SendErrors.Add(1)
	if errors.Is(err, ErrGone) {
		c.unreached(now, to)
	}
}

var doubleCRLF = []byte("\r\n\r\n")

// write sends a message that no transaction repeats, in its turn among those that do.
func (c *Core) write(m *message.Message, to nat.Flow) {
	b, err := m.Append(c.raw[:0])
	if err != nil {
		c.cfg.Log.Warn("a message cannot be written", zap.Error(err), zap.String("method", m.Method))
		return
	}
	c.raw = b
	c.effects = append(c.effects, transaction.Effect{
		Kind: transaction.Transmit, Bytes: append(make([]byte, 0, len(b)), b...), Flow: to,
	})
}

// respond sends a response on a server transaction, after the leak guard's look. A user whose final response cannot be
// sent believes in a call that nobody else knows of: it is aborted.
func (c *Core) respond(now time.Time, u *user, a tu.Respond) {
	if u != nil {
		c.guardLeaks(a.Side, a.Msg, a.Hide) // a response is repaired and sent, whatever is found
	}
	effects, err := c.table.Respond(now, transaction.ID(a.Tx), a.Msg, c.effects)
	c.effects = effects
	switch {
	case err == nil:
	case errors.Is(err, transaction.ErrGone), errors.Is(err, transaction.ErrAnswered):
		c.cfg.Log.Debug("response not sent", zap.Error(err), zap.Int("code", a.Msg.Status))
	default:
		c.cfg.Log.Warn("a response cannot be sent", zap.Error(err), zap.Int("code", a.Msg.Status))
		if u != nil && a.Msg.Status >= 200 {
			u.broken = true
		}
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
	side, target := a.Hop.Peer.Side, a.Msg.URI
	c.sequence(side, a.Msg)
	if !c.guardLeaks(side, a.Msg, a.Hide) && a.Msg.Method != "BYE" {
		c.tell(u.id, tu.Failed{Ref: a.Ref, Code: 500, Why: reason.Leak})
		return
	}
	if a.Hop.Target != nil {
		a.Msg.URI = target // a phone's own Contact, which may well bear an address that the PBX's network has, too
	}
	wanted := a
	a.Msg, a.Hop = c.detour(now, a.Msg, a.Hop)
	if !c.mayLeave(now, u.id, &a) {
		c.tell(u.id, tu.Failed{Ref: a.Ref, Code: 503, Why: reason.NoCapacity})
		return
	}
	begins := a.Msg.Method == "INVITE" && a.Msg.To.Tag == ""
	if begins {
		if failed, ok := c.cfg.Assembly.Lease(now, u.id, a); !ok {
			c.tell(u.id, failed)
			return
		}
	}
	a.Msg.Via = []message.Via{c.via(a.Hop.Here)}
	effects, err := c.table.Send(now, uint64(u.id), uint32(a.Ref), a.Msg, a.Hop.Flow, c.effects)
	c.effects = effects
	if err != nil && begins {
		c.cfg.Assembly.Unlease(u.id, a.Ref)
	}
	switch {
	case err == nil:
		c.left(now, u, wanted, &a, false)
	case errors.Is(err, transaction.ErrFull):
		c.gauges.Overload.Add(1)
		c.tell(u.id, tu.Failed{Ref: a.Ref, Code: 503, Why: reason.Overload})
	default:
		c.cfg.Log.Warn("a request cannot be sent", zap.Error(err), zap.String("method", a.Msg.Method))
		c.tell(u.id, tu.Failed{Ref: a.Ref, Code: 500, Why: reason.Internal})
	}
}

// sendAck sends the ACK for a 2xx outside any transaction.
func (c *Core) sendAck(now time.Time, a tu.SendAck) {
	c.guardLeaks(a.Hop.Peer.Side, a.Msg, a.Hide)
	a.Msg, a.Hop = c.detour(now, a.Msg, a.Hop)
	a.Msg.Via = []message.Via{c.via(a.Hop.Here)}
	c.write(a.Msg, a.Hop.Flow)
}

// via is our hop: the address that the peer knows us by, and rport, so that an answer finds us through its NAT too.
func (c *Core) via(here tu.Local) message.Via {
	at := sentBy{here.Transport, here.Signal}
	v, known := c.vias[at]
	if !known {
		v = message.Via{Transport: here.Transport.Via(), Host: here.Signal.Addr().String(), Port: here.Signal.Port(), RPort: -1}
		if !here.Transport.Reliable() {
			v.RPort = 0
		}
		if len(c.vias) >= viasMost {
			clear(c.vias)
		}
		c.vias[at] = v
	}
	v.Branch = c.ids.Branch()
	return v
}

// sentBy is where a hop of ours stands.
type sentBy struct {
	transport nat.Transport
	signal    netip.AddrPort
}

// viasMost bounds the hops that are kept written; there are a few for each listener.
const viasMost = 64

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
		d.target, d.remote = m.URI, m.To.Tag
	}
}
