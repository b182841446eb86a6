package call

import (
	"bytes"
	"slices"
	"strings"

	"sallyport/media/sdp"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// "For each m= line in the offer, there MUST be a corresponding m= line in the answer" (RFC 3264 §6), at the same place, and in later
// offers, too (§8). Not all keep to it: gateways answer with the one stream that they have, or in an order of their own; and who comes
// into a call later, in the place of a phone with video, may have fewer. So a call has its list of streams, which either leg is told
// whole. A leg whose peer has another one keeps the places of the peer's m= lines in it: what the peer says is put into the call's
// order, with the missing lines declined, and what answers the peer's own offers into the peer's.

// mLine is an m= line, as far as its place depends on it.
type mLine struct {
	kind string
	live bool // it is not declined
}

// linesOf are the m= lines of a description.
func linesOf(body []byte) (list []mLine) {
	for line := range bytes.Lines(body) {
		rest, is := bytes.CutPrefix(line, []byte("m="))
		if !is {
			continue
		}
		f := strings.Fields(string(rest))
		if len(f) < 2 {
			f = []string{"", "0"} // it will be refused by who reads it
		}
		port, _, _ := strings.Cut(f[1], "/")
		list = append(list, mLine{kind: strings.ToLower(f[0]), live: strings.Trim(port, "0") != ""})
	}
	return list
}

// sameLines reports whether an answer has the lines of its offer. "A stream that is offered with a port of zero MUST be marked with port
// zero in the answer" (RFC 3264 §6).
func sameLines(answer, offer []mLine) bool {
	return slices.EqualFunc(answer, offer, func(a, o mLine) bool { return a.kind == o.kind && (o.live || !a.live) })
}

// answerPlaces tells where the lines of an answer stand in its offer; -1: nowhere. It goes by what they are: a line whose place is
// taken by a stream of another kind answers the first one of its own that nothing else answers.
func answerPlaces(answer, offer []mLine) []int {
	places, taken := make([]int, len(answer)), make([]bool, len(offer))
	fits := func(i, k int) bool {
		return k < len(offer) && !taken[k] && answer[i].kind == offer[k].kind && (offer[k].live || !answer[i].live)
	}
	place := func(i, k int) { places[i], taken[k] = k, true }
	for i := range answer {
		if places[i] = -1; answer[i].live && fits(i, i) {
			place(i, i)
		}
	}
	for _, live := range [...]bool{true, false} { // what is declined gives way
		for i := range answer {
			if places[i] >= 0 || answer[i].live != live {
				continue
			}
			if fits(i, i) {
				place(i, i)
				continue
			}
			for k := range offer {
				if fits(i, k) {
					place(i, k)
					break
				}
			}
		}
	}
	return places
}

// offerPlaces tells where the lines of an offer stand in the call, which has these streams, and how many it has then: where they stood
// before; "new media streams are created by new additional media descriptions below the existing ones, or by reusing the slot" of one
// that is declined (RFC 3264 §8.1).
func offerPlaces(offer, known []mLine, before []int) (places []int, n int) {
	places, taken := make([]int, len(offer)), make([]bool, len(known))
	for i := range offer {
		if places[i] = -1; i < len(before) && before[i] >= 0 && before[i] < len(known) {
			places[i], taken[before[i]] = before[i], true
		}
	}
	n = len(known)
	for i := range offer {
		if places[i] >= 0 {
			continue
		}
		for k := range known {
			if !taken[k] && known[k].kind == offer[i].kind {
				places[i], taken[k] = k, true
				break
			}
		}
		if places[i] < 0 {
			places[i] = n
			n++
		}
	}
	return places, n
}

// ordered is nil for places that are those of the lines themselves, of n in all.
func ordered(places []int, n int) []int {
	if len(places) == n && !slices.ContainsFunc(places, func(k int) bool { return k < 0 || places[k] != k }) {
		return nil
	}
	return places
}

// sections are a description cut before its m= lines: what comes before them, and each of them with all that belongs to it.
func sections(body []byte) (head []byte, list [][]byte) {
	body = append(bytes.TrimRight(bytes.Clone(body), "\r\n"), "\r\n"...)
	from, at := 0, 0
	cut := func() {
		if part := body[from:at]; from == 0 {
			head = part
		} else {
			list = append(list, part)
		}
		from = at
	}
	for line := range bytes.Lines(body) {
		if at > 0 && bytes.HasPrefix(line, []byte("m=")) {
			cut()
		}
		at += len(line)
	}
	cut()
	return head, list
}

// arranged puts the m= lines of a description at these places, of n. Where none stands is one of another description, declined, that has
// as many.
func arranged(body []byte, places []int, n int, like []byte) []byte {
	out, list := sections(body)
	_, others := sections(like)
	out = bytes.Clone(out)
	for k := range n {
		switch i := slices.Index(places, k); {
		case i >= 0 && i < len(list):
			out = append(out, list[i]...)
		case k < len(others):
			out = append(out, declined(others[k])...)
		}
	}
	return out
}

// declined is an m= line as a bare one with port 0.
func declined(section []byte) []byte {
	line, _, _ := strings.Cut(string(section), "\n")
	f := strings.Fields(line)
	if len(f) < 3 {
		f = []string{"m=audio", "0", "RTP/AVP", "0"} // we wrote it
	}
	f[1] = "0"
	return []byte(strings.Join(f, " ") + "\r\nc=IN IP4 0.0.0.0\r\n")
}

// evened adds to a description the m= lines that another one has beyond it, all of them declined.
func evened(body, told []byte) []byte {
	n, all := mLines(body), mLines(told)
	if n >= all {
		return body
	}
	return arranged(body, inOrder(n), all, told)
}

// inOrder are the places of so many lines that stand where they stood.
func inOrder(n int) []int {
	places := make([]int, n)
	for i := range places {
		places[i] = i
	}
	return places
}

// picked leaves of a description the lines at these places, in their order.
func picked(body []byte, places []int) []byte {
	out, list := sections(body)
	out = bytes.Clone(out)
	for _, k := range places {
		if k >= 0 && k < len(list) {
			out = append(out, list[k]...)
		}
	}
	return out
}

// errNoStream refuses an answer whose streams were not offered.
var errNoStream = &errMedia{
	code: 488, why: reason.MediaForbidden, text: "SDP: the answer has no stream of the offer", tell: "the answer has no stream of the offer",
}

// answerTo puts an answer into the order of what the leg was offered; places tells where its lines stand there, nil: where they stood.
// Lines that nobody has offered are left out: what else they could be needs an offer first. lost: there were streams, and nothing of
// them is left.
func answerTo(m *message.Message, offer []byte) (_ *message.Message, places []int, lost bool) {
	if len(offer) == 0 || !described(m) {
		return m, nil, false
	}
	answer, asked := linesOf(sdpOf(m)), linesOf(offer)
	if sameLines(answer, asked) {
		return m, nil, false
	}
	places = answerPlaces(answer, asked)
	lost = slices.ContainsFunc(answer, func(a mLine) bool { return a.live })
	for i, k := range places {
		lost = lost && !(k >= 0 && answer[i].live)
	}
	return withSDP(m, arranged(sdpOf(m), places, len(asked), offer)), ordered(places, len(asked)), lost
}

// even is an offer of a leg that has other m= lines than the call, as one of the call's. Fewer than it had before it must not have: a
// request is refused for that, where it is judged; of a response the lines that are missing are declined.
func (c *Call) even(from, i int, m *message.Message) (_ *message.Message, places []int) {
	before, known := c.legs[from].places, c.legs[from].media.in
	if from == callee && c.won < 0 {
		before, known = c.pairs[i].early.places, c.pairs[i].early.in
	}
	n := mLines(sdpOf(m))
	switch {
	case n == 0, before == nil && (m.IsRequest() || n >= mLines(known)), m.IsRequest() && n < len(before):
		return m, nil
	}
	return placed(m, known, before)
}

// editEven is edit for an offer of a leg in a pair, whose answer it will get in its own order.
func (c *Call) editEven(from, i int, m *message.Message) (proposal, error) {
	m, places := c.even(from, i, m)
	c.legs[from].asked = places
	p, err := c.edit(from, m)
	p.places = places
	return p, err
}

// placed puts an offer into the order of the streams that are known.
func placed(m *message.Message, known []byte, before []int) (_ *message.Message, places []int) {
	places, n := offerPlaces(linesOf(sdpOf(m)), linesOf(known), before)
	if places = ordered(places, n); places == nil {
		return m, nil
	}
	return withSDP(m, arranged(sdpOf(m), places, n, known)), places
}

// renewed writes an offer anew that has waited for its turn: a refresh repeats what the leg was told last, everything else has the m= lines
// that the leg has come to know meanwhile.
func (c *Call) renewed(o *own) {
	told := c.legs[o.to].media.out
	switch {
	case o.why == refreshing:
		o.p.out = told
	case mLines(o.p.out) >= mLines(told):
	case o.why == restoring:
		o.p.out = evened(o.p.out, told)
	default:
		c.widen(o, told)
	}
}

// widen does so with what a leg is offered of a new far end.
func (c *Call) widen(o *own, told []byte) {
	at := 1 - o.to
	var l *leg
	var s *seals
	var p *proposal
	switch mv := c.moves; {
	case mv.taker != nil:
		l, s, p = &mv.taker.leg, &mv.taker.seals, &mv.taker.offer
	case mv.third != nil:
		l, s, p = &mv.third.leg, &mv.third.seals, &mv.third.answer
	default:
		return
	}
	places := p.places
	if places == nil {
		places = inOrder(mLines(p.in))
	}
	c.inPlace(at, l, s, func() {
		if q, err := c.describeAs(at, sdpMessage(evened(p.in, told)), nil, stance{}); err == nil {
			q.places = places
			*p, o.p = q, q
		}
	})
}

// withSDP is a message with another description.
func withSDP(m *message.Message, body []byte) *message.Message {
	start, end, ok := sdp.FindSDP(contentType(m), m.Body)
	if !ok {
		return m
	}
	out := *m
	out.Body = slices.Concat(m.Body[:start], body, m.Body[end:])
	return &out
}

// peersOrder puts an answer of ours into the order of the peer that has offered.
func peersOrder(m *message.Message, places []int) {
	if places != nil && described(m) {
		*m = *withSDP(m, picked(sdpOf(m), places))
	}
}

// negotiates reports whether descriptions in messages of a method are offers and answers.
func negotiates(method string) bool {
	return method == "INVITE" || method == "UPDATE" || method == "PRACK"
}

// bids reports whether the 2xx to a request is an offer.
func (c *Call) bids(tx tu.TxID) bool {
	return slices.ContainsFunc(c.relays, func(r relay) bool { return r.tx == tx && r.delayed })
}
