package call

import (
	"time"

	"sallyport/sbc/header"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// byeArrived takes a BYE: it is answered 200 at once, and the other leg gets one of our own.
func (c *Call) byeArrived(now time.Time, from, i int, ev tu.Arrived, do []tu.Action) []tu.Action {
	if c.won < 0 && from == callee && !c.pairs[i].over {
		// "the callee's UA MUST NOT send a BYE on a confirmed dialog until it has received an ACK … nor on an early
		// one" (RFC 3261 §15): the dialog it means is not up.
		return c.answer(from, ev.Tx, ev.Msg, 481, do)
	}
	do = c.answer(from, ev.Tx, ev.Msg, 200, do)
	switch {
	case c.won < 0:
		return c.byeEarly(now, i, ev.Msg, do)
	case i != c.won:
		c.pairs[i].over = true // a fork's: it is not the call
		return do
	}
	c.legs[from].bye = true
	if from == caller {
		c.byeCaller = false
	}
	if c.phase == ending {
		return do
	}
	if do, goesOn := c.leaves(from, do); goesOn {
		return do
	}
	c.cause = ev.Msg
	c.cdrCause(ev.Msg)
	return c.over(now, 200, "", legNames[from], c.bye(1-from, c.ackLate(do)))
}

// byeEarly takes the caller's BYE on an early dialog (RFC 3261 §15). If it is the only one, it means the INVITE, as a CANCEL
// does; else that one dialog ends, and the others ring on.
func (c *Call) byeEarly(now time.Time, i int, m *message.Message, do []tu.Action) []tu.Action {
	lost := c.pairs[i].forsaken // the caller may know of no other one, and mean the INVITE
	if c.phase == ending || c.pairs[i].over && !lost {
		return do
	}
	c.pairs[i].over = true
	for k := range c.pairs {
		if c.pairs[k].over {
			continue
		}
		if lost {
			return do
		}
		if ev, held := c.release(i); held {
			return c.hangUpFork(c.attemptOf(ev.Ref), ev.Msg, do)
		}
		d := &c.pairs[i].dlg[callee]
		bye := d.Request("BYE", 0)
		c.lastHand(callee, nil, bye)
		return append(do, tu.Send{Ref: c.newBye(), Msg: bye, Hop: c.hopOf(callee, d), Hide: &c.legs[caller].brought})
	}
	c.why = reasonOf(m)
	c.cdrCause(m)
	return c.refuse(now, 487, "", "caller", do)
}

// byeBoth ends both legs.
func (c *Call) byeBoth(do []tu.Action) []tu.Action {
	do = c.ackLate(do)
	return c.bye(callee, c.bye(caller, do))
}

// bye ends one leg, as soon as it may.
func (c *Call) bye(to int, do []tu.Action) []tu.Action {
	if c.legs[to].bye || c.won < 0 {
		return do
	}
	if c.moves.waits(to) {
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
	d := &c.pairs[c.won].dlg[to]
	m := d.Request("BYE", 0)
	if c.cause != nil { // RFC 3326: why it ended concerns both
		dir, hosts := c.hosts(1 - to)
		header.Copy(dir, c.cause, m, hosts)
		copyBody(m, c.cause)
	}
	c.lastHand(to, c.cause, m)
	return append(do, tu.Send{Ref: c.newBye(), Msg: m, Hop: c.hopOf(to, d), Hide: &c.legs[1-to].brought})
}
