package call

import (
	"slices"
	"strings"
	"time"

	"sallyport/nat"
	"sallyport/sbc/header"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// allow is the value of our Allow.
const allow = header.Methods

var methods = strings.Split(allow, ", ")

// inDialog takes a request within a dialog of the call.
func (c *Call) inDialog(now time.Time, ev tu.Arrived, do []tu.Action) []tu.Action {
	m := ev.Msg
	if m.Method == "ACK" || m.Method == "CANCEL" {
		return do // they come as events of their own
	}
	from, i := c.find(m)
	switch {
	case from >= 0 && c.mayAskIn(from, i, ev):
	case from >= 0 && c.legs[from].phone():
		return c.dropped(ev, do)
	case from >= 0:
		return append(do, tu.Respond{Tx: ev.Tx, Side: c.legs[from].peer.Side, Msg: message.Reply(m, 481, "")})
	default:
		return append(do, tu.Respond{Tx: ev.Tx, Side: c.sideOf(ev), Msg: message.Reply(m, 481, "")})
	}
	if negotiates(m.Method) {
		all, _ := c.even(from, i, m)
		if do, waits := c.needStreams(all, ev, do); waits {
			return do
		}
	}
	if err := c.pairs[i].dlg[from].Accept(m); err != nil {
		return c.answer(from, ev.Tx, m, 500, do) // and nothing else changes
	}
	if c.pairs[i].was == nil {
		do = c.arrivedBy(from, ev, do)
	}
	c.legs[from].brought.Notice(m, ev.Flow.Remote.Addr())
	if m.Method == "BYE" {
		return c.byeArrived(now, from, i, ev, do)
	}
	if code, extra := c.refusal(from, i, m); code != 0 {
		return c.answer(from, ev.Tx, m, code, do, extra...)
	}
	if c.left() == 1-from {
		return c.nobody(from, ev.Tx, m, do)
	}
	if m.Method == "INFO" {
		if do, taken := c.infoArrived(now, from, ev, do); taken {
			return do
		}
		if c.legs[1-from].lacks().Method("INFO") {
			return c.answer(from, ev.Tx, m, 405, do, message.Header{Name: "Allow", Value: strings.Replace(allow, "INFO, ", "", 1)})
		}
	}
	if m.Method == "INVITE" || m.Method == "UPDATE" {
		if small := c.timerAsked(from, m); small != nil {
			return c.answer(from, ev.Tx, m, 422, do, small...)
		}
		c.legs[from].learn(m)
		return c.offerArrived(now, from, i, ev, do)
	}
	if m.Method == "PRACK" {
		return c.prackArrived(now, from, i, ev, do)
	}
	if m.Method == "REFER" {
		return c.referArrived(now, from, i, ev, do)
	}
	return c.pass(now, from, i, ev, proposal{}, do)
}

// refusal tells what forbids a leg's request in a pair, whatever it means, or leaves nothing to do for it; 0: nothing.
func (c *Call) refusal(from, i int, m *message.Message) (code int, extra []message.Header) {
	switch {
	case m.Method == "PRACK" && c.pairs[i].forsaken && !c.final:
		return c.forsakenPrack(m), nil
	case (c.phase == ending || c.pairs[i].over || c.won >= 0 && i != c.won || c.left() == from) && c.subscribed(i, m) < 0:
		return 481, nil // RFC 5407 §3.2.2: the dialog has ended, by a BYE of the leg's own, too
	case !slices.Contains(methods, m.Method):
		return 405, []message.Header{{Name: "Allow", Value: allow}}
	case m.MaxForwards == 0:
		return 483, nil
	}
	if tags := c.missing(m); len(tags) > 0 {
		return 420, []message.Header{{Name: "Unsupported", Value: strings.Join(tags, ", ")}}
	}
	if len(c.relays) >= maxRelays {
		return 500, []message.Header{{Name: "Retry-After", Value: "1"}}
	}
	return 0, nil
}

// sideOf is the side that a request came in by, whoever sent it.
func (c *Call) sideOf(ev tu.Arrived) nat.Side {
	for i := range c.legs {
		if l := &c.legs[i]; l.peer != nil && l.hop.Flow.Interface == ev.Flow.Interface {
			return l.peer.Side
		}
	}
	if ev.Peer != nil {
		return ev.Peer.Side
	}
	return c.sideOfDialog(ev.Msg)
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
