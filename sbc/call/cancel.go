package call

import (
	"time"

	"sallyport/sbc/tu"
)

// cancelled takes the caller's CANCEL. Its own 200 has been sent; after a final answer it has no effect (RFC 3261
// §9.2). For a re-INVITE the far side decides: its final answer is passed, be it 487 or 200.
func (c *Call) cancelled(now time.Time, ev tu.Cancelled, do []tu.Action) []tu.Action {
	if ev.Tx == c.tx {
		if c.invite == nil {
			return do
		}
		return c.refuse(now, 487, "", "caller", do)
	}
	for i := range c.relays {
		if r := &c.relays[i]; r.tx == ev.Tx && !r.closed && r.req.Method == "INVITE" {
			r.timerC = time.Time{}
			return append(do, tu.Cancel{Ref: r.ref})
		}
	}
	return do
}
