package call

import (
	"bytes"
	"slices"
	"time"

	"sallyport/media/sdp"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// Offer and answer before the call is answered (RFC 3262 §5, RFC 3311 §5, RFC 6337 §2.2). In each early dialog the INVITE's
// offer and answer are complete on a leg by a reliable response alone; what comes in another one is a preview.

// learn notes what a leg's peer says of itself: whether it takes UPDATE.
func (l *leg) learn(m *message.Message) {
	if _, said := m.Get("Allow"); said {
		l.noUpdate = !has(m, "Allow", "UPDATE")
	}
	l.supports(m)
}

// earlyGlare tells whether an UPDATE with an offer may not be taken in an early dialog whose leg has no complete offer and
// answer: "If an UPDATE is received that contains an offer, and the UAS has generated an offer … to which it has not yet
// received an answer, the UAS MUST reject the UPDATE with a 491"; where it "has received an offer … to which it has not yet
// generated an answer … a 500" (RFC 3311 §5.2).
func (c *Call) earlyGlare(from, i int) int {
	switch s := c.pairs[i].steady; {
	case from == callee && c.offered:
		return 491 // our INVITE's
	case from == caller && !c.offered && s != nil && s.open != nil && !s.open.said.empty():
		return 491 // that of our reliable response
	default:
		return 500
	}
}

// mayOffer reports whether a leg can be sent an UPDATE with an offer in an early dialog (RFC 3311 §5.1).
func (c *Call) mayOffer(to, i int) bool { return c.pairs[i].complete(to) && c.legs[to].takesUpdate() }

// takesUpdate reports whether a leg's peer may be sent an UPDATE, by what it says and by what is known of it.
func (l *leg) takesUpdate() bool { return !l.noUpdate && !l.lacks().Method("UPDATE") }

// answerEarly takes an UPDATE with an offer whose other leg cannot be offered anything yet. Where the caller has had no
// answer that counts, the callee may change its mind: what it says now will be that answer. All else is refused: "If the
// UAS cannot change the session parameters without prompting the user, it SHOULD reject the request with a 504" (RFC 3311
// §5.2).
func (c *Call) answerEarly(from, i int, ev tu.Arrived, places []int, do []tu.Action) []tu.Action {
	m := ev.Msg
	out := c.legs[callee].media.out
	if from != callee || !c.offered || c.pairs[i].complete(caller) || c.pairs[i].waitsForPrack() || !alike(sdpOf(m), out) {
		return c.answer(from, ev.Tx, m, 504, do)
	}
	p, err := c.editCallee(i, &message.Message{
		Method: "INVITE", Status: 183, Body: m.Body, Headers: []message.Header{{Name: "Content-Type", Value: contentType(m)}},
	})
	if err != nil {
		code, _ := verdict(err)
		return c.answer(from, ev.Tx, m, code, do, c.warning(from, err)...)
	}
	p.places = places
	c.pairs[i].dlg[from].Refresh(m)
	do = c.settleEarly(i, p, do)
	ok := message.Reply(m, 200, "")
	ok.Headers = append(ok.Headers, c.contact(from), message.Header{Name: "Allow", Value: allow},
		message.Header{Name: "Content-Type", Value: "application/sdp"})
	ok.Body, c.legs[from].media.fresh = out, false
	c.lastHand(from, nil, ok)
	return c.respond(from, ev.Tx, ok, do)
}

// alike reports whether a description of ours can answer an offer as it stands: the same plain streams, both ways.
func alike(offer, ours []byte) bool {
	a, err := sdp.Parse(offer)
	if err != nil {
		return false
	}
	b, err := sdp.Parse(ours)
	if err != nil || a.Len() != b.Len() {
		return false
	}
	for i := range a.Len() {
		x, y := a.At(i), b.At(i)
		same := x.Type == y.Type && x.Proto == y.Proto && x.Rejected() == y.Rejected() && !x.Hold() &&
			x.Direction == sdp.SendRecv && y.Direction == sdp.SendRecv
		if !same || len(a.Cryptos(i)) > 0 || a.Fingerprinted(i) || len(b.Cryptos(i)) > 0 || b.Fingerprinted(i) {
			return false
		}
	}
	return true
}

// changed notes a description that is in force in one early dialog only, before it is adopted.
func (c *Call) changed(i, from int, p proposal) {
	switch {
	case c.won >= 0 || p.empty():
	case from == callee:
		c.pairs[i].early = p
	default:
		if c.first == nil && c.offered {
			first := c.inForce(caller)
			c.first = &first
		}
		c.pairs[i].steadily().caller = p
	}
}

// inForce is what a leg has said last.
func (c *Call) inForce(from int) proposal {
	l := &c.legs[from].media
	return proposal{in: l.in, out: c.legs[1-from].media.out, aims: l.aims, formats: l.formats, seals: l.seals, places: c.legs[from].places}
}

// askedIn is the offer that the callee of a pair answers: what the caller has said there last. Of no pair, -1, it is that of the INVITE.
func (c *Call) askedIn(i int) *proposal {
	if i >= 0 {
		if s := c.pairs[i].steady; s != nil && !s.caller.empty() {
			return &s.caller
		}
	}
	if c.first != nil {
		return c.first
	}
	p := c.inForce(caller)
	return &p
}

// reinstate puts in force again what the caller has said in the dialog that is answered, where it has said other things in
// others.
func (c *Call) reinstate(i int) {
	var p proposal
	if c.first != nil {
		p = *c.first
	}
	if s := c.pairs[i].steady; s != nil && !s.caller.empty() {
		p = s.caller
	}
	if !p.empty() && !bytes.Equal(p.in, c.legs[caller].media.in) {
		c.adopt(caller, p)
	}
}

// fewer reports whether a new offer leaves streams out: "If an m= line … existed in the previous SDP, … there MUST be a
// matching m= line" (RFC 3264 §8).
func fewer(before, now []byte) bool { return mLines(now) < mLines(before) }

func mLines(b []byte) (n int) {
	for line := range bytes.Lines(b) {
		if bytes.HasPrefix(line, []byte("m=")) {
			n++
		}
	}
	return n
}

// errNoCodec refuses an answer that leaves the two peers nothing to speak in.
var errNoCodec = &errMedia{code: 488, why: reason.MediaForbidden, text: "SDP: the answer has no codec of the offer"}

// strange reports whether an answer has streams, and none of them anything to speak in that was offered. A stream of
// events alone is one, too (RFC 4733 §2.4.1), but beside codecs that nobody offered they are no common ground.
func strange(answer, offer []formats) bool {
	streams := 0
	for i := range min(len(answer), len(offer)) {
		said, asked := answer[i].said, offer[i].said
		if len(said) == 0 || len(asked) == 0 {
			continue
		}
		streams++
		speaks := slices.ContainsFunc(said, func(f sdp.Format) bool { return !besideVoice(f) })
		for _, f := range said {
			if speaks && besideVoice(f) {
				continue
			}
			if slices.ContainsFunc(asked, func(g sdp.Format) bool { return f.Base() == g.Base() }) {
				return false
			}
		}
	}
	return streams > 0
}

// lateUpdate is how long a re-INVITE may take that stands for an UPDATE: as long as who sent that waits (RFC 3261 §17.1.2.2:
// 64·T1), less what an answer needs.
const lateUpdate = 24 * time.Second
