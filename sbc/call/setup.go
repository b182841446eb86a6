package call

import (
	"bytes"
	"strings"
	"time"

	"sallyport/media/sdp"
	"sallyport/sbc/dialog"
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
	a.peer, a.callID, a.guest = ev.Peer, m.CallID, true
	a.user = header.ContactUser(header.RewriteURIHost(m.URI, ev.Here.Signal.String()))
	a.hop = tu.Hop{Peer: ev.Peer, Here: ev.Here, Flow: ev.Flow}
	a.brought.Notice(m, ev.Flow.Remote.Addr())
	c.name(m)
	c.phase = routing
	c.openRecord(now, ev)
	do = append(do, tu.Respond{Tx: ev.Tx, Side: a.peer.Side, Msg: message.Reply(m, 100, "")})

	// "If a UAS does not understand an option-tag listed in a Require header field, it MUST respond with 420" (RFC 3261
	// §8.2.2.3).
	a.learn(m)
	if tags := c.takeTags(m); len(tags) > 0 {
		return c.refuseWith(now, 420, "", "sbc", do, message.Header{Name: "Unsupported", Value: strings.Join(tags, ", ")})
	}
	// "If the Max-Forwards value is 0 … 483" (RFC 3261 §16.3; RFC 7332 §4: a B2BUA does as a proxy does).
	if m.MaxForwards == 0 {
		return c.refuse(now, 483, reason.Loop, "sbc", do)
	}
	if small := c.timerAsked(caller, m); small != nil {
		return c.refuseWith(now, 422, "", "sbc", do, small...)
	}
	up, err := dialog.UAS(m, "")
	if err != nil || badTies(m) {
		return c.refuse(now, 400, reason.Malformed, "sbc", do)
	}
	c.up = up
	a.secure = m.URI.Scheme == "sips" || up.Target.Scheme == "sips"
	if c.offered = described(m); len(m.Body) > 0 && !c.offered {
		return c.refuseWith(now, 415, "", "sbc", do, acceptSDP)
	}
	return append(do, tu.Route{Msg: m, Peer: a.peer})
}

// name gives the callee's leg its ids and its first number.
func (c *Call) name(m *message.Message) {
	a, b := c.legs[caller].peer, &c.legs[callee]
	if a.Kind != tu.KindPhone || c.set.Names == nil || m.CSeq > maxFirst {
		b.callID, b.tag, c.cseq = c.ids.CallID(), c.ids.Tag(), 1
		return
	}
	// "Call-ID and From-tag are a keyed hash …, and the first CSeq is the outside one": a nonce of the PBX may be bound to
	// them, and the phone's answer to it comes in another INVITE.
	who := m.From.URI.AoR(a.Domain)
	b.callID = c.set.Names.CallID("INVITE", m.CallID, m.From.Tag, who)
	b.tag = c.set.Names.Tag(c.set.Tags, "INVITE", m.CallID, m.From.Tag, who)
	c.cseq, c.named = m.CSeq, true
}

// maxFirst leaves a dialog room for numbers "less than 2**31" (RFC 3261 §8.1.1.5). A phone that begins above it could not
// answer a challenge anyway.
const maxFirst = 1<<31 - 1<<16

// routed takes the plan and asks for ports: none before the first SDP leaves, no call (DESIGN promise 8).
func (c *Call) routed(now time.Time, ev tu.Routed, do []tu.Action) []tu.Action {
	switch {
	case c.redirection != nil && c.redirection.asks && c.phase != ending:
		return c.followed(now, ev, do)
	case c.phase != routing:
		return do
	case len(ev.Hops) == 0:
		c.cdrPeer(ev.Peer)
		return c.refuse(now, ev.Code, ev.Why, "sbc", do)
	}
	c.hops = ev.Hops
	c.phase = reserving
	return append(do, tu.Reserve{Streams: max(1, countStreams(c.invite))})
}

// countStreams is how many m= lines of a body want ports, up to the last one that does. A broken body is refused where it
// is edited.
func countStreams(m *message.Message) int {
	n, want := 0, 0
	for line := range bytes.Lines(sdpOf(m)) {
		if !bytes.HasPrefix(line, []byte("m=")) {
			continue
		}
		n++
		if _, port, _ := bytes.Cut(line, []byte(" ")); !bytes.HasPrefix(port, []byte("0 ")) {
			want = n
		}
	}
	return min(want, sdp.MaxMedia)
}

// reserved takes the ports: the call's first ones, or more for a later offer.
func (c *Call) reserved(now time.Time, ev tu.Reserved, do []tu.Action) []tu.Action {
	c.streams = append(c.streams, ev.Streams...)
	for range ev.Streams {
		c.prints = append(c.prints, ev.Print)
	}
	if c.phase == reserving {
		if len(c.streams) == 0 {
			return c.refuse(now, 503, reason.NoPorts, "sbc", do)
		}
		do = c.nextHop(now, 0, "", do)
	}
	waiting := c.waiting
	c.waiting = nil
	for i, w := range waiting {
		c.served = i == 0 // the one that asked
		do = c.handle(now, w, do)
		c.served = false
		if len(c.waiting) > 0 { // this one asked for more: the rest stays in order behind it
			c.waiting = append(c.waiting, waiting[i+1:]...)
			break
		}
	}
	return do
}

// needStreams puts an event off until an offer's m= lines have ports. It must be asked before the event has changed
// anything, for it comes again whole. It reports false when there is nothing to wait for: each event waits once, and
// what the pool could not give is answered with port 0.
func (c *Call) needStreams(m *message.Message, ev tu.Event, do []tu.Action) ([]tu.Action, bool) {
	n := countStreams(m)
	if n <= len(c.streams) || c.served || c.phase == ending || len(c.waiting) > 0 {
		return do, false
	}
	c.waiting = append(c.waiting, ev)
	return append(do, tu.Reserve{Streams: n - len(c.streams)}), true
}

// refuse gives the caller's INVITE a final answer that is not a 2xx, and ends the call.
func (c *Call) refuse(now time.Time, code int, why reason.Reason, by string, do []tu.Action) []tu.Action {
	var extra []message.Header
	if code == 503 && wholeRealm(why) {
		extra = append(extra, message.Header{Name: "Retry-After", Value: tu.RetryAfter})
	}
	return c.refuseWith(now, code, why, by, do, extra...)
}

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
	m := message.Reply(c.invite, code, "")
	m.To.Tag = c.defaultTag()
	m.Headers = append(m.Headers, extra...)
	c.lastHand(caller, nil, m)
	return c.over(now, code, why, by, c.finalAnswer(m, do))
}

// finalAnswer sends the final answer to the caller's INVITE, once.
func (c *Call) finalAnswer(m *message.Message, do []tu.Action) []tu.Action {
	if c.final {
		return do
	}
	c.final = true
	c.answerTimer(caller, m)
	return append(do, tu.Respond{Tx: c.tx, Side: c.legs[caller].peer.Side, Msg: m, Hide: &c.legs[callee].brought})
}

// over ends the call for its record and its ports; transactions that are still open finish by themselves.
func (c *Call) over(now time.Time, code int, why reason.Reason, by string, do []tu.Action) []tu.Action {
	if c.phase == ending {
		return do
	}
	do = c.giveUp(false, do)
	do = c.endMoves(now, code, by, do)
	c.phase = ending
	c.attemptAt, c.ringAt, c.timerC = time.Time{}, time.Time{}, time.Time{}
	do = c.dropOwn(c.dropRelays(c.dropKept(do)))
	if b := &c.legs[callee]; c.named && c.won < 0 && len(c.attempts) > 0 {
		// The retry of a challenged INVITE has the same ids; it must not wait for hops that were given up.
		do = append(do, tu.CloseDialog{Side: b.peer.Side, CallID: b.callID, Local: b.tag})
	}
	return append(do, tu.Record{CDR: c.close(now, code, why, by)}, tu.Release{})
}

func contentType(m *message.Message) string {
	v, _ := m.Get("Content-Type")
	return v
}

// acceptSDP tells what a body may be, where it was something else.
var acceptSDP = message.Header{Name: "Accept", Value: "application/sdp"}
