package call

import (
	"slices"
	"time"

	"sallyport/media/sdp"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// keys is what a leg has to be told of digits.
type keys struct {
	tones  tu.Tones               // those that the relay plays to it, the last ones
	starts [tu.MaxTones]time.Time // about when each of them begins
	ends   time.Time              // when the last one is over
	stream int                    // of the call, on which they are played

	queue []tu.DigitHeard // for INFO, the oldest first
	sent  tu.DigitHeard   // on its way
	ref   tu.Ref          // of that INFO; 0: none is on its way
	plain bool            // it takes application/dtmf alone
	noted bool            // that it refuses digits has been said
}

const (
	maxDigits = 16                    // that wait for INFO towards one leg: more than anybody types ahead
	toneGap   = 60 * time.Millisecond // between two tones
)

// keysOf is a leg's, made when they are first needed.
func (l *leg) keysOf() *keys {
	if l.keys == nil {
		l.keys = &keys{}
	}
	return l.keys
}

// speaks is how a leg's peer sends and takes digits.
func (l *leg) speaks() tu.DTMF { return l.peer.Media.DTMF }

// toInfo reports whether telephone events of a leg's peer become INFO. events says which legs have agreed on events.
func (c *Call) toInfo(from int, events [2]bool) bool {
	near, far := c.legs[from].speaks(), c.legs[1-from].speaks()
	switch {
	case !events[from], near == far:
		return false
	case far == tu.DTMFInfo:
		return true
	default:
		return near == tu.DTMFEvents && !events[1-from]
	}
}

// toEvents reports whether INFO of a leg's peer becomes telephone events.
func (c *Call) toEvents(from int, events [2]bool) bool {
	near, far := c.legs[from].speaks(), c.legs[1-from].speaks()
	return events[1-from] && near != far && (near == tu.DTMFInfo || far == tu.DTMFEvents)
}

// events tells of stream i which legs have agreed on telephone events, and under which number each hears them.
func (c *Call) events(i int) (payload [2]uint8, clock [2]uint32, agreed [2]bool) {
	for l := range c.legs {
		near, far := c.legs[l].media.formats, c.legs[1-l].media.formats
		if i >= len(near) || i >= len(far) || !near[i].voice || near[i].sealed || far[i].sealed {
			return payload, clock, [2]bool{}
		}
		voice := voiceClock(near[i].said, far[i].said)
		for _, f := range near[i].said {
			// It is agreed what either side has named (RFC 3264 §6.1).
			if !isEvent(f) || !slices.ContainsFunc(far[i].told, func(x sdp.Format) bool { return x.Codec == f.Codec }) {
				continue
			}
			if hz := clockOf(f); !agreed[l] || hz == voice && clock[l] != voice { // RFC 4733 §2.1
				payload[l], clock[l], agreed[l] = f.Number, hz, true
			}
		}
	}
	return payload, clock, agreed
}

// keypads gives both legs of stream i their part in digits, once both descriptions are in force.
func (c *Call) keypads(i int, x, y *tu.Aim) {
	payload, clock, agreed := c.events(i)
	for l, a := range [2]*tu.Aim{x, y} {
		hears, plays := c.toInfo(l, agreed), c.toEvents(1-l, agreed)
		if !hears && !plays {
			continue
		}
		a.Events = tu.Events{Payload: payload[l], Clock: clock[l], Report: hears}
		if hears {
			for _, list := range [...][]sdp.Format{c.legs[l].media.formats[i].said, c.legs[1-l].media.formats[i].told} {
				for _, f := range list {
					if isEvent(f) {
						a.Numbers.Discard(f.Number)
					}
				}
			}
		}
		if plays {
			a.Continuous = true
			if k := c.legs[l].keys; k != nil && i == k.stream {
				a.Tones = k.tones
			}
		}
	}
}

// dialled is the stream to which INFO of a leg's peer is played, -1 if there is none: the first one that has events.
func (c *Call) dialled(from int) int {
	n := min(len(c.legs[caller].media.aims), len(c.legs[callee].media.aims))
	for i := range n {
		if _, _, agreed := c.events(i); c.toEvents(from, agreed) {
			return i
		}
	}
	return -1
}

// infoArrived takes an INFO with a digit that is to be played to the other leg. It reports false for any other: that goes
// its way as any request.
func (c *Call) infoArrived(now time.Time, from int, ev tu.Arrived, do []tu.Action) ([]tu.Action, bool) {
	m := ev.Msg
	kind := digitType(m)
	stream := -1
	if kind != noDigit {
		stream = c.dialled(from)
	}
	if stream < 0 {
		return do, false
	}
	tone, ok := parseDigit(kind, m.Body)
	if !ok {
		return c.answer(from, ev.Tx, m, 400, do), true
	}
	if tone.Event > lastTone {
		return do, false // flash-hook is no event of RFC 4733: whoever knows it may have it
	}
	k := c.legs[1-from].keysOf()
	if k.stream != stream { // what has been played on one stream is not repeated on another
		k.stream, k.tones.Count = stream, 0
	}
	if !k.add(now, tone) {
		return c.answer(from, ev.Tx, m, 500, do, message.Header{Name: "Retry-After", Value: "1"}), true
	}
	do = c.answer(from, ev.Tx, m, 200, do)
	return c.settle(c.final, do), true
}

// add has a tone played behind the others. It reports false while so many wait that one would be forgotten.
func (k *keys) add(now time.Time, t tu.Tone) bool {
	n := int(k.tones.Count)
	if n == tu.MaxTones {
		if k.starts[0].After(now) {
			return false
		}
		copy(k.tones.List[:], k.tones.List[1:])
		copy(k.starts[:], k.starts[1:])
		n--
	}
	at := now
	if k.ends.After(now) {
		at = k.ends
	}
	k.tones.List[n], k.starts[n] = t, at
	k.ends = at.Add(time.Duration(t.Duration)*time.Millisecond + toneGap)
	k.tones.Count = uint8(n + 1)
	k.tones.Serial++
	return true
}

// digitHeard takes a digit that a leg's peer has sent as a telephone event: the other one gets it by INFO.
func (c *Call) digitHeard(ev tu.DigitHeard, do []tu.Action) []tu.Action {
	from := caller
	if c.legs[caller].peer == nil || c.legs[callee].peer == nil {
		return do
	}
	if c.legs[callee].peer.Side == ev.Side {
		from = callee
	}
	_, _, agreed := c.events(ev.Stream)
	if c.phase == ending || ev.Event > flash || !c.toInfo(from, agreed) {
		return do
	}
	k := c.legs[1-from].keysOf()
	if len(k.queue) >= maxDigits {
		return c.noteDigits(1-from, 500, reason.Overload, "digits come faster than the peer answers INFO: some are lost", do)
	}
	k.queue = append(k.queue, ev)
	return c.tellDigit(1-from, do)
}

// tellDigit sends the next digit by INFO, one at a time: INFO says nothing of order but its CSeq (RFC 6086 §4.2.1).
func (c *Call) tellDigit(to int, do []tu.Action) []tu.Action {
	k, l := c.legs[to].keys, &c.legs[to]
	if k.ref != 0 || len(k.queue) == 0 {
		return do
	}
	i := c.won
	if i < 0 && to == callee && len(c.pairs) == 1 {
		i = 0 // a menu may be answered while it is early
	}
	if c.phase == ending || i < 0 || c.pairs[i].over || l.bye {
		k.queue = nil
		return do
	}
	k.sent, k.queue = k.queue[0], k.queue[1:]
	d := &c.pairs[i].dlg[to]
	m := d.Request("INFO", 0)
	writeDigit(m, k.sent, k.plain)
	c.lastHand(to, nil, m)
	c.lastRef++
	k.ref = c.lastRef
	return append(do, tu.Send{Ref: k.ref, Msg: m, Hop: c.hopOf(to, d), Hide: &c.legs[1-to].brought})
}

// telling reports whether an INFO of ours has no final answer yet.
func (c *Call) telling() bool {
	return slices.ContainsFunc(c.legs[:], func(l leg) bool { return l.keys != nil && l.keys.ref != 0 })
}

// toldBy is the leg that an INFO of ours went to, -1 if it is none.
func (c *Call) toldBy(ref tu.Ref) int {
	return slices.IndexFunc(c.legs[:], func(l leg) bool { return l.keys != nil && l.keys.ref == ref && ref != 0 })
}

// digitAnswered takes the answer to an INFO of ours.
func (c *Call) digitAnswered(now time.Time, to int, ev tu.Answered, do []tu.Action) []tu.Action {
	m, k := ev.Msg, c.legs[to].keys
	if m.Status < 200 {
		return do
	}
	k.ref = 0
	do = c.answeredBy(to, ev.Flow, do)
	c.legs[to].brought.Notice(m, ev.Flow.Remote.Addr())
	switch {
	case c.phase == ending, m.Status < 300:
	case m.Status == 481:
		c.legs[to].bye = true // nobody there to send one to
		return c.hangUp(now, m.Status, reason.SignallingLost, do)
	case m.Status == 415 && !k.plain:
		k.plain = true
		k.queue = slices.Insert(k.queue, 0, k.sent)
	default:
		do = c.noteDigits(to, m.Status, "", "the peer refuses digits by INFO: dtmf: rfc4733 or pass may suit it", do)
	}
	return c.tellDigit(to, do)
}

// digitFailed hears that an INFO of ours gets no answer. That ends no call: "408 … for INVITE only" (RFC 5057 §5.1).
func (c *Call) digitFailed(to, code int, do []tu.Action) []tu.Action {
	k := c.legs[to].keys
	k.ref = 0
	if c.phase != ending {
		do = c.noteDigits(to, code, reason.Timeout, "the peer does not answer INFO: a digit is lost", do)
	}
	return c.tellDigit(to, do)
}

// noteDigits says once a leg that its peer does not get its digits.
func (c *Call) noteDigits(to, code int, why reason.Reason, text string, do []tu.Action) []tu.Action {
	l := &c.legs[to]
	if l.keys.noted {
		return do
	}
	l.keys.noted = true
	return append(do, tu.Note{
		Source: l.hop.Flow.Remote, Side: l.peer.Side, Realm: l.peer.Realm, Method: "INFO", Code: code, Why: why, Text: text,
	})
}
