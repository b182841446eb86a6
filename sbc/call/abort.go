package call

import (
	"time"

	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// Abort ends the call after a panic. It trusts nothing that a half-done Step may have changed: the INVITE is answered
// 500, every dialog gets a BYE whose number and target the core fills in, ports go back, the one CDR is written.
func (c *Call) Abort(now time.Time, do []tu.Action) []tu.Action {
	a := &c.legs[caller]
	if c.invite != nil && !c.final && a.peer != nil {
		m := message.Reply(c.invite, 500, "")
		m.To.Tag = c.ids.Tag()
		do = append(do, tu.Respond{Tx: c.tx, Side: a.peer.Side, Msg: m})
	}
	for i := range c.attempts {
		if !c.attempts[i].done {
			do = append(do, tu.Cancel{Ref: c.attempts[i].ref})
		}
	}
	if c.won >= 0 && c.won < len(c.pairs) {
		for to := range c.legs {
			if c.legs[to].bye || c.legs[to].peer == nil {
				continue
			}
			d := c.pairs[c.won].dlg[to]
			c.lastRef++
			do = append(do, tu.Send{Ref: c.lastRef, Hop: c.legs[to].hop, Msg: &message.Message{
				Method: "BYE", URI: d.Target, From: d.Local, To: d.Remote, CallID: d.CallID, MaxForwards: 70,
				Headers: routesOf(d.Routes),
			}})
		}
	}
	if c.phase != ending {
		do = append(do, tu.Record{CDR: c.close(now, 500, reason.Internal, "sbc")})
	}
	return append(do, tu.Release{}, tu.End{})
}

func routesOf(routes []message.NameAddr) []message.Header {
	var h []message.Header
	for _, r := range routes {
		h = append(h, message.Header{Name: "Route", Value: r.String()})
	}
	return h
}
