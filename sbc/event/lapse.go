package event

import (
	"time"

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
	s.over = true
	s.attemptAt, s.silentAt, s.expiresAt = time.Time{}, time.Time{}, time.Time{}
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
	s.over = true
	s.attemptAt, s.silentAt, s.expiresAt = time.Time{}, time.Time{}, time.Time{}
	for i := range s.legs {
		l := &s.legs[i]
		if !l.made || !l.opened {
			continue
		}
		ref := s.newRef()
		s.own = append(s.own, ref)
		method, fields := s.farewell(i, ev.Why)
		do = append(do, tu.Send{Ref: ref, Msg: l.last(method, &l.dlg, 0, fields...), Hop: l.next(), Hide: &s.legs[1-i].brought})
	}
	return do
}

// farewell is what ends a leg: a NOTIFY that says so to the subscriber, who may try again (RFC 6665 §4.1.3: deactivated at
// once, probation later); a SUBSCRIBE of no duration to the notifier (§4.1.2.3).
func (s *Subscription) farewell(to int, why reason.Reason) (method string, fields []message.Header) {
	event, _ := s.req.Get("Event")
	fields = []message.Header{{Name: "Event", Value: event}}
	if to == notifier {
		return "SUBSCRIBE", append(fields, message.Header{Name: "Expires", Value: "0"})
	}
	state := "terminated;reason=deactivated"
	if why == reason.Draining {
		state = "terminated;reason=probation;retry-after=" + retryAfter
	}
	return "NOTIFY", append(fields, message.Header{Name: "Subscription-State", Value: state})
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
			method, fields := s.farewell(i, reason.Internal)
			m := l.last(method, &d, 1, fields...)
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
