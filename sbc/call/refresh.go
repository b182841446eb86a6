package call

import (
	"bytes"
	"time"

	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// tickSessions refreshes sessions, and ends the call whose session has expired on one of its legs.
func (c *Call) tickSessions(now time.Time, do []tu.Action) []tu.Action {
	for l := range c.legs {
		s := c.legs[l].timer
		if s == nil || !c.lasts() {
			continue
		}
		if end := s.end(); !end.IsZero() && !now.Before(end) {
			return c.hangUp(now, 408, reason.SessionExpired, do)
		}
		if s.ours && !s.due.IsZero() && !now.Before(s.due) {
			s.due = time.Time{}
			do = c.refresh(now, l, do)
		}
	}
	return do
}

// lasts reports whether sessions can expire: they are there, and have not ended.
func (c *Call) lasts() bool { return c.won >= 0 && (c.phase == answered || c.phase == established) }

// refresh asks the peer of a leg whether it is still there: "It is RECOMMENDED that the UPDATE request not contain an offer",
// and a re-INVITE "that the offer indicate that it has not changed" (RFC 4028 §7.4).
func (c *Call) refresh(now time.Time, to int, do []tu.Action) []tu.Action {
	if s := c.legs[to].timer; s.updates && !s.deaf && c.legs[to].takesUpdate() {
		return c.ask(now, to, "UPDATE", proposal{}, refreshing, do)
	}
	return c.ask(now, to, "INVITE", proposal{out: c.legs[to].media.out}, refreshing, do)
}

// heardAnew takes the answer to a description that a leg was told again. Mostly it is what it was; where it says something
// new, media goes by it, and the other leg, which was not asked, keeps what it knows.
func (c *Call) heardAnew(now time.Time, from int, out []byte, m *message.Message, do []tu.Action) []tu.Action {
	near, far := &c.legs[from].media, &c.legs[1-from].media
	near.out = out
	if said, _, _ := answerTo(m, out); !described(m) || bytes.Equal(near.in, sdpOf(said)) {
		return do
	}
	told, before := far.out, far.told()
	c.seals = seals{by: far.seals, to: near.seals}
	offer := c.inForce(1 - from)
	p, err := c.editAnswer(from, m, &offer)
	far.tell(before) // nobody is
	if err != nil {
		code, why := verdict(err)
		return c.hangUp(now, code, why, do)
	}
	c.adopt(from, p)
	far.out = told
	return c.settle(true, do)
}

// refreshed hears how a refresh ended.
func (c *Call) refreshed(now time.Time, o own, m *message.Message, do []tu.Action) []tu.Action {
	s := c.legs[o.to].timer
	switch {
	case m != nil && o.method == "INVITE":
		return c.heardAnew(now, o.to, o.p.out, m, do)
	case m != nil, s == nil, s.interval == 0, !s.ours:
		return do
	case s.alone && !o.unheard:
		// No session of the peer's expires. Whatever it does not like of a refresh, it has the call.
		s.deaf = s.deaf || o.method == "UPDATE"
		s.renew(now)
		return do
	case o.method == "UPDATE":
		s.deaf = true
		return c.refresh(now, o.to, do)
	}
	// "The UAC SHOULD follow the rules specific to that response code and retry if possible", but not for ever (RFC 4028 §10).
	if left := s.end().Sub(now); left > leastRetry {
		s.due = now.Add(left / 2)
	}
	return do
}

// leastRetry is the time that must be left for another try: a request may take 32 s, 64·T1.
const leastRetry = 10 * time.Second

// dropRefresh lets a refresh of ours go that waits while the session has been refreshed.
func (c *Call) dropRefresh(to int) {
	for i := 0; i < len(c.owns); i++ {
		if o := &c.owns[i]; o.to == to && o.why == refreshing && o.ref == 0 {
			c.owns = append(c.owns[:i], c.owns[i+1:]...)
			i--
		}
	}
}

// longest is when a call that is answered now has lasted as long as either peer may keep it; zero: it may last for ever.
func (c *Call) longest(now time.Time) (end time.Time) {
	for l := range c.legs {
		if most := c.legs[l].peer.MaxCall; most > 0 && (end.IsZero() || now.Add(most).Before(end)) {
			end = now.Add(most)
		}
	}
	return end
}
