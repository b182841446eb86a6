package call

import (
	"time"

	"sallyport/sbc/tu"
)

// byeArrived takes a BYE: it is answered 200 at once, and the other leg gets one of our own.
func (c *Call) byeArrived(now time.Time, from int, ev tu.Arrived, do []tu.Action) []tu.Action {
	if c.won < 0 && from == callee {
		// "the callee's UA MUST NOT send a BYE on a confirmed dialog until it has received an ACK … nor on an early
		// one" (RFC 3261 §15): the dialog it means is not up.
		return c.answer(from, ev.Tx, ev.Msg, 481, do)
	}
	do = c.answer(from, ev.Tx, ev.Msg, 200, do)
	c.legs[from].bye = true
	if c.phase == ending {
		if from == caller {
			c.byeCaller = false
		}
		return do
	}
	if c.won < 0 {
		// A caller may end its early dialog by BYE (RFC 3261 §15); for the INVITE it is a CANCEL.
		do = c.giveUp(do)
		m := c.reply(c.invite, 487, "")
		return c.over(now, 487, "", "caller", c.finalAnswer(m, do))
	}
	by := "caller"
	if from == callee {
		by = "callee"
	}
	do = c.ackLate(nil, do)
	return c.over(now, 200, "", by, c.bye(1-from, do))
}

// byeBoth ends both legs.
func (c *Call) byeBoth(do []tu.Action) []tu.Action {
	do = c.ackLate(nil, do)
	return c.bye(callee, c.bye(caller, do))
}

// bye ends one leg, as soon as it may.
func (c *Call) bye(to int, do []tu.Action) []tu.Action {
	if c.legs[to].bye || c.won < 0 {
		return do
	}
	if to == caller && !c.acked {
		// "The callee's UA MUST NOT send a BYE on a confirmed dialog until it has received an ACK for its 2xx response
		// or until the server transaction times out" (RFC 3261 §15).
		c.byeCaller = true
		return do
	}
	return c.sendBye(to, do)
}

func (c *Call) sendBye(to int, do []tu.Action) []tu.Action {
	if c.legs[to].bye {
		return do
	}
	c.legs[to].bye = true
	m := c.pairs[c.won].dlg[to].Request("BYE", 0)
	return append(do, tu.Send{Ref: c.newRef(), Msg: m, Hop: c.hopTo(to), Hide: &c.legs[1-to].brought})
}
