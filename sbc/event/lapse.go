package event

import (
	"strconv"
	"time"

	"sallyport/sbc/dialog"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

const (
	// timerN is how long a NOTIFY may take that a SUBSCRIBE has asked for: 64·T1 (RFC 6665 §4.1.2.4).
	timerN = 32 * time.Second
	// margin is how long we know a subscription that has run out: its notifier says so by a NOTIFY of its own, which may
	// need all its repeats.
	margin = 32 * time.Second
	// usual is how long a subscription lives of which nobody has said so: what message-summary and dialog say (RFC 3842
	// §3.4, RFC 4235 §3.4).
	usual = 3600 * time.Second
)

// tick runs the timers that are due.
func (s *Subscription) tick(now time.Time, do []tu.Action) []tu.Action {
	due := func(t time.Time) bool { return !t.IsZero() && !now.Before(t) }
	switch {
	case due(s.attemptAt):
		return s.nextHop(now, 408, reason.Timeout, do)
	case due(s.silentAt), due(s.expiresAt):
		// Either side knows by itself: the subscriber by the same timer, the notifier by its clock.
		return s.finish(do)
	default:
		return do
	}
}

// finish ends the subscription; transactions that are still open finish by themselves.
func (s *Subscription) finish(do []tu.Action) []tu.Action {
	s.lapse()
	return s.shut(do)
}

// hangUp ends the subscription from our side.
func (s *Subscription) hangUp(ev tu.Hangup, do []tu.Action) []tu.Action {
	switch {
	case s.over:
		return do
	case s.phase == unborn:
		s.phase, s.over = refused, true
		return do
	case s.phase != active:
		return s.refuseFor(ev.Code, ev.Why, do)
	}
	s.lapse()
	do = s.part(subscriber, s.lastState(ev.Why), do)
	if ev.Why == reason.NoPBX {
		return do // whoever is down hears nothing; what it may still know of us our 481 ends
	}
	return s.part(notifier, "", do)
}

// lapse has the subscription over, and no timer of it left.
func (s *Subscription) lapse() {
	s.over = true
	s.attemptAt, s.silentAt, s.expiresAt = time.Time{}, time.Time{}, time.Time{}
}

// part sends a leg its last request.
func (s *Subscription) part(i int, state string, do []tu.Action) []tu.Action {
	l := &s.legs[i]
	if !l.made || !l.opened {
		return do
	}
	ref := s.newRef()
	s.own = append(s.own, ref)
	m := s.farewell(i, &l.dlg, 0, state)
	s.lastHand(i, nil, m)
	return append(do, tu.Send{Ref: ref, Msg: m, Hop: l.next(), Hide: &s.legs[1-i].brought})
}

// farewell is what ends a leg: a NOTIFY that says so to the subscriber; a SUBSCRIBE of no duration to the notifier (RFC 6665
// §4.1.2.3). The core gives one of an aborted user its number.
func (s *Subscription) farewell(to int, d *dialog.Dialog, seq uint32, state string) *message.Message {
	event, _ := s.req.Get("Event")
	if s.kind == "refer" {
		event = "refer"
	}
	if to == notifier {
		return s.legs[to].last("SUBSCRIBE", d, seq, message.Header{Name: "Event", Value: event}, message.Header{Name: "Expires", Value: "0"})
	}
	m := s.legs[to].last("NOTIFY", d, seq, message.Header{Name: "Event", Value: event}, message.Header{Name: "Subscription-State", Value: state})
	if s.kind == "refer" {
		// "the body of each NOTIFY MUST begin with a SIP Response Status-Line" (RFC 3515 §2.4.5); this is all that is known.
		m.Body = []byte("SIP/2.0 100 Trying\r\n")
		m.Set("Content-Type", "message/sipfrag;version=2.0")
	}
	return m
}

// lastState is what the subscriber hears of the end: it may try again, at once (deactivated) or later (probation, RFC 6665
// §4.1.3). A REFER cannot be asked for once more: nothing more is known of it (noresource).
func (s *Subscription) lastState(why reason.Reason) string {
	switch {
	case s.kind == "refer":
		return "terminated;reason=noresource"
	case why == reason.Draining:
		return "terminated;reason=probation;retry-after=" + tu.RetryAfter
	default:
		return "terminated;reason=deactivated"
	}
}

// renewable reports whether a phone's subscription stands at a node of the PBX, in whose place another may take it.
func (s *Subscription) renewable() bool {
	far := s.legs[notifier].hop.Peer
	return s.kind != "refer" && s.legs[subscriber].phone() && far != nil && far.Kind == tu.KindNode
}

// deactivate ends a subscription whose node did not take a refresh: far is its answer, nil if there is none. A dialog lives at
// one node; the phone shall make another, wherever there is one ("deactivated: … the subscriber SHOULD retry immediately with a
// new subscription", RFC 6665 §4.1.3), and not before the node says, where it asks for patience. Of itself it would believe in
// the old one until it runs out (§4.1.2.2).
func (s *Subscription) deactivate(far *message.Message, do []tu.Action) []tu.Action {
	if s.over {
		return do
	}
	state := s.lastState("")
	if far != nil {
		if wait, ok := seconds(far, "Retry-After"); ok && wait > 0 {
			state = "terminated;reason=probation;retry-after=" + strconv.Itoa(int(wait/time.Second))
		}
	}
	s.lapse()
	return s.part(subscriber, state, do)
}

// Abort ends the subscription after a panic. The Step that panicked has done nothing, whatever it has written down: what
// counts is what was sure before it. The first SUBSCRIBE is answered 500, an active subscription is ended on both legs by
// requests whose number and target the core fills in.
func (s *Subscription) Abort(_ time.Time, do []tu.Action) []tu.Action {
	if s.req != nil && (s.sure.phase == unborn || s.sure.phase == routing || s.sure.phase == asking) {
		do = s.respond(subscriber, s.tx, s.reply(subscriber, s.req, 500), do)
	}
	if s.sure.phase == active && !s.sure.over {
		for i := range s.legs {
			l := &s.legs[i]
			if !s.sure.made[i] {
				continue
			}
			d := l.dlg // a copy: the dialog itself is not to be trusted with numbers any more
			m := s.farewell(i, &d, 1, s.lastState(reason.Internal))
			m.CSeq = 0
			do = append(do, tu.Send{Ref: s.newRef(), Msg: m, Hop: l.hop, Hide: &s.legs[1-i].brought})
		}
	}
	return append(do, tu.End{})
}

// maybeEnd ends the user once there is no subscription and no transaction any more.
func (s *Subscription) maybeEnd(do []tu.Action) []tu.Action {
	if !s.over || s.phase < active || len(s.relays) > 0 || len(s.own) > 0 || s.trying() {
		return do
	}
	s.ended = true
	return append(s.shut(do), tu.End{})
}

// open makes a leg's dialog known to core and guard.
func (s *Subscription) open(i int, do []tu.Action) []tu.Action {
	l := &s.legs[i]
	if l.opened && i == subscriber || s.over {
		return do
	}
	l.opened = true
	return s.reopen(i, do)
}

// reopen tells core and guard that a leg's requests come from elsewhere now.
func (s *Subscription) reopen(i int, do []tu.Action) []tu.Action {
	l := &s.legs[i]
	if !l.opened {
		return do
	}
	return append(do, tu.OpenDialog{Side: l.side(), CallID: l.callID, Local: l.tag, Source: l.hop.Flow.Remote.Addr()})
}

// shut makes the dialogs unknown: what comes for them is answered 481, and a retry with the same ids may open its own.
func (s *Subscription) shut(do []tu.Action) []tu.Action {
	for i := range s.legs {
		if l := &s.legs[i]; l.opened {
			l.opened = false
			do = append(do, tu.CloseDialog{Side: l.side(), CallID: l.callID, Local: l.tag})
		}
	}
	return do
}
