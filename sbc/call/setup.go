package call

import (
	"bytes"
	"strings"
	"time"

	"sallyport/media/sdp"
	"sallyport/sbc/header"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// begin takes the caller's INVITE: what is wrong with it is said before anybody is asked.
func (c *Call) begin(now time.Time, ev tu.Arrived, do []tu.Action) []tu.Action {
	m := ev.Msg
	c.invite, c.tx = m, ev.Tx
	a := &c.legs[caller]
	a.peer, a.callID, a.user = ev.Peer, m.CallID, m.URI.User
	a.hop = tu.Hop{Peer: ev.Peer, Here: ev.Here, Flow: ev.Flow}
	a.notice(m, ev.Flow.Remote.Addr())
	c.legs[callee].callID, c.legs[callee].tag = c.ids.CallID(), c.ids.Tag()
	c.cseq = 1
	c.openRecord(now, ev)
	do = append(do, tu.Respond{Tx: ev.Tx, Side: a.peer.Side, Msg: message.Reply(m, 100, "")})

	// "If a UAS does not understand an option-tag listed in a Require header field, it MUST respond with 420" (RFC 3261
	// §8.2.2.3).
	if tags := header.Unsupported(m); len(tags) > 0 {
		return c.refuseWith(now, 420, "", "sbc", do, message.Header{Name: "Unsupported", Value: strings.Join(tags, ", ")})
	}
	// "If the Max-Forwards value is 0 … 483" (RFC 3261 §16.3; RFC 7332 §4: a B2BUA does as a proxy does).
	if m.MaxForwards == 0 {
		return c.refuse(now, 483, reason.Loop, "sbc", do)
	}
	if list, star, err := m.Contacts(); err != nil || star || len(list) != 1 {
		return c.refuse(now, 400, reason.Malformed, "sbc", do)
	}
	if len(m.Body) > 0 {
		if _, _, ok := sdp.FindSDP(contentType(m), m.Body); !ok {
			return c.refuseWith(now, 415, "", "sbc", do, message.Header{Name: "Accept", Value: "application/sdp"})
		}
	}
	c.phase = routing
	return append(do, tu.Route{Msg: m, Peer: a.peer, Side: a.peer.Side, Real: a.peer.Realm})
}

// routed takes the plan and asks for ports: none before the first SDP leaves, no call (DESIGN promise 8).
func (c *Call) routed(now time.Time, ev tu.Routed, do []tu.Action) []tu.Action {
	if c.phase != routing {
		return do
	}
	if len(ev.Hops) == 0 {
		c.cdrPeer(ev.Peer)
		return c.refuse(now, ev.Code, ev.Why, "sbc", do)
	}
	c.hops = ev.Hops
	c.phase = reserving
	return append(do, tu.Reserve{Streams: max(1, c.countStreams(c.invite))})
}

// countStreams is how many m= lines a body has; a broken body has none and is refused where it is edited.
func (c *Call) countStreams(m *message.Message) int {
	from, to, ok := sdp.FindSDP(contentType(m), m.Body)
	if !ok {
		return 0
	}
	s, err := sdp.Parse(m.Body[from:to])
	if err != nil {
		return 0
	}
	return s.Len()
}

// reserved takes the ports: the call's first ones, or more for a later offer.
func (c *Call) reserved(now time.Time, ev tu.Reserved, do []tu.Action) []tu.Action {
	c.streams = append(c.streams, ev.Streams...)
	if c.phase == reserving {
		if len(c.streams) == 0 {
			return c.maybeEnd(c.refuse(now, 503, reason.NoPorts, "sbc", do))
		}
		do = c.maybeEnd(c.nextHop(now, 0, "", do))
	}
	waiting := c.waiting
	c.waiting = nil
	for _, w := range waiting {
		do = c.handle(now, w, do)
	}
	return do
}

// needStreams puts an event off until a body's m= lines have ports. It reports false when there is nothing to wait for.
func (c *Call) needStreams(m *message.Message, ev tu.Event, do []tu.Action) ([]tu.Action, bool) {
	n := c.countStreams(m)
	if n <= len(c.streams) || c.noPorts || c.phase == ending {
		return do, false
	}
	// Asked once a body: what the pool cannot give is answered with port 0.
	c.noPorts = true
	c.waiting = append(c.waiting, ev)
	return append(do, tu.Reserve{Streams: n - len(c.streams)}), true
}

// refuse gives the caller's INVITE a final answer that is not a 2xx, and ends the call.
func (c *Call) refuse(now time.Time, code int, why reason.Reason, by string, do []tu.Action) []tu.Action {
	var extra []message.Header
	if code == 503 && wholeRealm(why) {
		extra = append(extra, message.Header{Name: "Retry-After", Value: retryAfter})
	}
	return c.refuseWith(now, code, why, by, do, extra...)
}

// retryAfter is what a peer is asked to wait when the whole gate cannot take calls, in seconds.
const retryAfter = "10"

// wholeRealm tells conditions of the whole SBC or realm: only they carry Retry-After, on which a provider stops the
// whole trunk.
func wholeRealm(why reason.Reason) bool {
	switch why {
	case reason.NoPorts, reason.NoPBX, reason.Overload, reason.Draining:
		return true
	default:
		return false
	}
}

func (c *Call) refuseWith(now time.Time, code int, why reason.Reason, by string, do []tu.Action, extra ...message.Header) []tu.Action {
	if c.final {
		return do
	}
	m := c.reply(c.invite, code, "")
	m.Headers = append(m.Headers, extra...)
	return c.over(now, code, why, by, c.finalAnswer(m, do))
}

// finalAnswer sends the final answer to the caller's INVITE, once.
func (c *Call) finalAnswer(m *message.Message, do []tu.Action) []tu.Action {
	if c.final {
		return do
	}
	c.final = true
	return append(do, tu.Respond{Tx: c.tx, Side: c.legs[caller].peer.Side, Msg: m, Hide: &c.legs[callee].brought})
}

// over ends the call for its record and its ports; transactions that are still open finish by themselves.
func (c *Call) over(now time.Time, code int, why reason.Reason, by string, do []tu.Action) []tu.Action {
	if c.phase == ending {
		return do
	}
	c.phase = ending
	c.attemptAt, c.ringAt, c.timerC = time.Time{}, time.Time{}, time.Time{}
	do = c.dropRelays(do)
	do = append(do, tu.Record{CDR: c.close(now, code, why, by)}, tu.Release{})
	return do
}

func contentType(m *message.Message) string {
	v, _ := m.Get("Content-Type")
	return v
}

func sameBody(a, b []byte) bool { return len(a) > 0 && bytes.Equal(a, b) }
