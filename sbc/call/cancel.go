package call

import (
	"strings"
	"time"

	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// cancelled takes the caller's CANCEL. Its own 200 has been sent; after a final answer it has no effect (RFC 3261
// §9.2). For a re-INVITE the far side decides: its final answer is passed, be it 487 or 200.
func (c *Call) cancelled(now time.Time, ev tu.Cancelled, do []tu.Action) []tu.Action {
	if ev.Tx == c.tx {
		if c.invite == nil {
			return do
		}
		c.why = reasonOf(ev.Msg)
		c.cdrCause(ev.Msg)
		return c.refuse(now, 487, "", "caller", do)
	}
	for i := range c.relays {
		if r := &c.relays[i]; r.tx == ev.Tx && !r.closed && r.req.Method == "INVITE" {
			r.timerC = time.Time{}
			c.why = reasonOf(ev.Msg)
			do = append(do, c.cancel(1-r.from, r.ref, false))
			c.why = ""
			return do
		}
	}
	return do
}

// cancel gives an INVITE to a leg up. Why the other leg did so goes with it (RFC 3326): of a call that was "completed
// elsewhere" a phone shows no missed call.
func (c *Call) cancel(to int, ref tu.Ref, quiet bool) tu.Cancel {
	a := tu.Cancel{Ref: ref, Quiet: quiet, Reason: c.why}
	if a.Reason != "" {
		a.Side, a.Hide = c.legs[to].peer.Side, &c.legs[1-to].brought
	}
	return a
}

// reasonMost bounds a Reason that is passed on, in bytes; a longer one is left out.
const reasonMost = 512

// reasonOf is the Reason of a message: of several values a list (RFC 3326 §2).
func reasonOf(m *message.Message) string {
	if m == nil {
		return ""
	}
	var values []string
	for _, h := range m.Headers {
		if h.Name == "Reason" {
			values = append(values, h.Value)
		}
	}
	why := strings.Join(values, ", ")
	if len(why) > reasonMost {
		return ""
	}
	return why
}
