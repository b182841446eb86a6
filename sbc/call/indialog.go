package call

import (
	"slices"
	"strings"
	"time"

	"sallyport/nat"
	"sallyport/sbc/header"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// relay is a request of a dialog on its way to the other leg.
type relay struct {
	from     int // leg it came from
	pair     int
	tx       tu.TxID
	ref      tu.Ref
	req      *message.Message
	seq      uint32 // its CSeq on the far leg
	offer    proposal
	delayed  bool // INVITE without offer: the far 2xx brings it, the ACK the answer
	answered bool // the near side has its final answer
	closed   bool // the far side gave its final answer, or there is no far side
	far      proposal
	ack      *message.Message // our ACK for the far 2xx
}

// maxRelays bounds the requests of one call that wait for the far side.
const maxRelays = 16

// inDialog takes a request within a dialog of the call.
func (c *Call) inDialog(now time.Time, ev tu.Arrived, do []tu.Action) []tu.Action {
	m := ev.Msg
	from, i := c.find(m)
	if from < 0 || !c.mayAsk(from, ev) {
		return append(do, tu.Respond{Tx: ev.Tx, Side: sideOf(ev), Msg: message.Reply(m, 481, "")})
	}
	if err := c.pairs[i].dlg[from].Accept(m); err != nil {
		return c.answer(from, ev.Tx, m, 500, do) // and nothing else changes
	}
	c.legs[from].notice(m, ev.Flow.Remote.Addr())
	switch {
	case m.Method == "BYE":
		return c.byeArrived(now, from, ev, do)
	case c.phase == ending:
		return c.answer(from, ev.Tx, m, 481, do)
	case !slices.Contains(methods, m.Method):
		return c.answer(from, ev.Tx, m, 405, do, message.Header{Name: "Allow", Value: allow})
	case m.MaxForwards == 0:
		return c.answer(from, ev.Tx, m, 483, do)
	}
	if tags := header.Unsupported(m); len(tags) > 0 {
		return c.answer(from, ev.Tx, m, 420, do, message.Header{Name: "Unsupported", Value: strings.Join(tags, ", ")})
	}
	if len(c.relays) >= maxRelays {
		return c.answer(from, ev.Tx, m, 500, do, message.Header{Name: "Retry-After", Value: "1"})
	}
	if m.Method == "INVITE" || m.Method == "UPDATE" {
		return c.offerArrived(now, from, i, ev, do)
	}
	return c.pass(from, i, ev, proposal{empty: true}, do)
}

// allow is the value of our Allow.
const allow = header.Methods

var methods = strings.Split(allow, ", ")

func sideOf(ev tu.Arrived) nat.Side {
	if ev.Peer != nil {
		return ev.Peer.Side
	}
	return nat.Outside
}

// find tells which leg and which pair a request of a dialog belongs to; -1 if none.
func (c *Call) find(m *message.Message) (from, i int) {
	for i := range c.pairs {
		for from := range c.pairs[i].dlg {
			d := &c.pairs[i].dlg[from]
			if d.CallID == m.CallID && d.Local.Tag == m.To.Tag && d.Remote.Tag == m.From.Tag {
				return from, i
			}
		}
	}
	return -1, -1
}

// mayAsk reports whether a source may speak for a leg: its address, or another of the same peer system. The ids of a
// dialog alone prove nothing.
func (c *Call) mayAsk(from int, ev tu.Arrived) bool {
	l := &c.legs[from]
	if ev.Flow.Remote.Addr() == l.hop.Flow.Remote.Addr() {
		return true
	}
	return ev.Peer != nil && ev.Peer.Side == l.peer.Side && ev.Peer.Kind == l.peer.Kind &&
		(ev.Peer.Kind == tu.KindNode || ev.Peer.Name == l.peer.Name)
}

// pass sends a request on as a request of the other leg's dialog.
func (c *Call) pass(from, i int, ev tu.Arrived, p proposal, do []tu.Action) []tu.Action {
	to := 1 - from
	m := ev.Msg
	d := &c.pairs[i].dlg[to]
	out := d.Request(m.Method, 0)
	out.MaxForwards = forwards(m)
	dir := c.direction(from)
	c.dress(out, to)
	header.Copy(dir, m, out, hostsFor(dir, c.legs[to].hop))
	if p.empty {
		copyBody(out, m)
	} else {
		p.into(out, m)
	}
	c.relays = append(c.relays, relay{
		from: from, pair: i, tx: ev.Tx, ref: c.newRef(), req: m, seq: out.CSeq, offer: p,
		delayed: m.Method == "INVITE" && len(m.Body) == 0,
	})
	return append(do, tu.Send{Ref: c.lastRef, Msg: out, Hop: c.hopOf(to, d), Hide: &c.legs[from].brought})
}

// relayHeard takes the far side's response to a relayed request, or to a BYE of ours.
func (c *Call) relayHeard(now time.Time, ev tu.Answered, do []tu.Action) []tu.Action {
	k := slices.IndexFunc(c.relays, func(r relay) bool { return r.ref == ev.Ref })
	m := ev.Msg
	if k < 0 {
		return c.strayHeard(ev, do)
	}
	r := &c.relays[k]
	if m.Status < 200 {
		return do // a provisional answer in a dialog says only that it takes time
	}
	ok := m.Status < 300
	if r.delayed && ok && !r.closed {
		if do, waits := c.needStreams(m, ev, do); waits {
			return do
		}
	}
	if r.closed { // a copy of a 2xx whose ACK was lost
		if r.ack != nil {
			do = append(do, c.ackOf(r))
		}
		return do
	}
	r.closed = true
	c.open--
	c.legs[1-r.from].notice(m, ev.Flow.Remote.Addr())
	switch {
	case r.req.Method == "INVITE" && ok:
		return c.reinviteAccepted(now, k, m, do)
	case r.answered:
		c.relays = slices.Delete(c.relays, k, k+1)
		return do
	case r.req.Method == "UPDATE" && ok && !r.offer.empty:
		return c.updateAccepted(now, k, m, do)
	}
	from, req, tx := r.from, r.req, r.tx
	c.relays = slices.Delete(c.relays, k, k+1)
	out := c.relayed(m, req, 1-from)
	copyBody(out, m)
	do = append(do, tu.Respond{Tx: tx, Side: c.legs[from].peer.Side, Msg: out, Hide: &c.legs[1-from].brought})
	if gone(req.Method, m.Status) {
		return c.hangUp(now, m.Status, reason.Timeout, do)
	}
	return do
}

// strayHeard takes what no open relay waits for: the answer to a BYE of ours, or a copy of a re-INVITE's 2xx whose ACK
// was lost.
func (c *Call) strayHeard(ev tu.Answered, do []tu.Action) []tu.Action {
	if ev.Msg.Status < 200 {
		return do
	}
	if ev.Msg.Method != "INVITE" {
		c.open--
		return do
	}
	for i := range c.lastAck {
		if r := &c.lastAck[i]; r.ref == ev.Ref && r.ack != nil && ev.Msg.Status < 300 {
			return append(do, c.ackOf(r))
		}
	}
	return do
}

// gone reports whether an answer says that the far side has lost the dialog: "If the response for a request within a
// dialog is a 481 … or a 408 … the UAC SHOULD terminate the dialog" (RFC 3261 §12.2.1.2); a 408 counts for INVITE only.
func gone(method string, code int) bool {
	return code == 481 || code == 408 && method == "INVITE"
}

// relayFailed hears that a relayed request, or a BYE of ours, gets no answer.
func (c *Call) relayFailed(now time.Time, ev tu.Failed, do []tu.Action) []tu.Action {
	k := slices.IndexFunc(c.relays, func(r relay) bool { return r.ref == ev.Ref })
	if k < 0 {
		c.open--
		return do
	}
	r := c.relays[k]
	if r.closed {
		return do
	}
	c.open--
	c.relays = slices.Delete(c.relays, k, k+1)
	if r.answered {
		return do
	}
	code := ev.Code
	if r.req.Method != "INVITE" && code == 408 {
		code = 504 // "MUST NOT send a 408 to a non-INVITE request" (RFC 4320 §4.2)
	}
	do = c.answer(r.from, r.tx, r.req, code, do)
	if r.req.Method == "INVITE" {
		return c.hangUp(now, code, reason.Timeout, do)
	}
	return do
}

// dropRelays answers what is still open when the call ends: "any pending requests … SHOULD … respond with a 487" (RFC
// 3261 §15.1.2). Those whose far answer is still to come stay, for a 2xx must have its ACK.
func (c *Call) dropRelays(do []tu.Action) []tu.Action {
	kept := c.relays[:0]
	for _, r := range c.relays {
		if !r.answered {
			do = c.answer(r.from, r.tx, r.req, 487, do)
			r.answered = true
		}
		if !r.closed {
			kept = append(kept, r)
		}
	}
	c.relays = kept
	return do
}
