package call

import (
	"time"

	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// Abort ends the call after a panic. The Step that panicked has done nothing, whatever it has written down: what counts is
// what was sure before it. The INVITE is answered 500, each leg of an answered call gets a BYE whose number and target
// the core fills in, ports go back, the one CDR is written. Other dialogs and transactions are the core's to end.
func (c *Call) Abort(now time.Time, do []tu.Action) []tu.Action {
	if a := c.legs[caller].peer; a != nil && c.invite != nil && !c.sure.final {
		m := message.Reply(c.invite, 500, "")
		m.To.Tag = c.defaultTag()
		do = append(do, tu.Respond{Tx: c.tx, Side: a.Side, Msg: m})
	}
	for i := range c.attempts {
		if !c.attempts[i].done {
			do = append(do, tu.Cancel{Ref: c.attempts[i].ref})
		}
	}
	if won := c.sure.won; won >= 0 && won < len(c.pairs) {
		for to := range c.legs {
			if c.sure.bye[to] || c.legs[to].peer == nil {
				continue
			}
			d := c.pairs[won].dlg[to] // a copy: the dialog itself is not to be trusted with numbers any more
			m := d.Request("BYE", 1)
			m.CSeq = 0
			c.lastRef++
			do = append(do, tu.Send{Ref: c.lastRef, Hop: c.legs[to].hop, Msg: m, Hide: &c.legs[1-to].brought})
		}
	}
	do = c.abortMoves(do)
	if !c.sure.recorded && c.legs[caller].peer != nil {
		do = append(do, tu.Record{CDR: c.close(now, 500, reason.Internal, "sbc")}, tu.Release{})
	}
	return append(do, tu.End{})
}
