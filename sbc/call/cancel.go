package call

import (
	"time"

	"sallyport/sbc/tu"
)

// cancelled takes the caller's CANCEL. Its own 200 has been sent; after a final answer it has no effect (RFC 3261
// §9.2). For a re-INVITE the far side decides: its final answer is passed, be it 487 or 200.
func (c *Call) cancelled(now time.Time, ev tu.Cancelled, do []tu.Action) []tu.Action {
	if ev.Tx != c.tx {
		for i := range c.relays {
			if c.relays[i].tx == ev.Tx && !c.relays[i].closed {
				return append(do, tu.Cancel{Ref: c.relays[i].ref})
			}
		}
		return do
	}
	if c.final {
		return do
	}
	do = c.giveUp(do)
	m := c.reply(c.invite, 487, "")
	return c.over(now, 487, "", "caller", c.finalAnswer(m, do))
}
