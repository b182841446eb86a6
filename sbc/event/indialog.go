package event

import (
	"strings"
	"time"

	"sallyport/sbc/dialog"
	"sallyport/sbc/header"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// inDialog takes a request within one of the subscription's dialogs.
func (s *Subscription) inDialog(now time.Time, ev tu.Arrived, do []tu.Action) []tu.Action {
	m := ev.Msg
	from := s.find(m)
	switch {
	case from >= 0 && s.legs[from].mayAsk(ev):
	case from >= 0 && s.legs[from].phone():
		return s.dropped(from, ev, do)
	default:
		return s.stray(ev, 481, do)
	}
	l := &s.legs[from]
	if from == notifier && !s.notified {
		if m.Method != "NOTIFY" {
			return s.answer(from, ev.Tx, m, 481, do)
		}
		do = s.establish(ev, do)
	} else if err := l.dlg.Accept(m); err != nil {
		return s.answer(from, ev.Tx, m, 500, do) // and nothing else changes
	}
	l.brought.Notice(m, ev.Flow.Remote.Addr())
	do = s.arrivedBy(from, ev, do)
	if s.over {
		if from == notifier && m.Method == "NOTIFY" && len(s.own) > 0 {
			return s.answer(from, ev.Tx, m, 200, do) // the last word, for which our SUBSCRIBE has asked
		}
		return s.answer(from, ev.Tx, m, 481, do)
	}
	if code, extra := s.refusal(from, m); code != 0 {
		return s.answer(from, ev.Tx, m, code, do, extra...)
	}
	if from == notifier {
		return s.notifyArrived(now, ev, do)
	}
	return s.relay(subscriber, ev, do)
}

// refusal tells what forbids a request, whatever it means; 0: nothing.
func (s *Subscription) refusal(from int, m *message.Message) (code int, extra []message.Header) {
	if (m.Method != "SUBSCRIBE" || from != subscriber) && (m.Method != "NOTIFY" || from != notifier) {
		return 405, []message.Header{{Name: "Allow", Value: allow}}
	}
	if m.MaxForwards == 0 {
		return 483, nil
	}
	if tags := header.Unsupported(m); len(tags) > 0 {
		return 420, []message.Header{{Name: "Unsupported", Value: strings.Join(tags, ", ")}}
	}
	if m.Method == "SUBSCRIBE" && packageOf(m) != s.kind {
		return 489, nil // a second subscription in the dialog (RFC 6665 §4.5.2)
	}
	if len(s.relays) >= s.waiting() || !s.legs[1-from].made {
		return 500, []message.Header{{Name: "Retry-After", Value: "1"}}
	}
	return 0, nil
}

// notifyArrived passes a NOTIFY.
func (s *Subscription) notifyArrived(now time.Time, ev tu.Arrived, do []tu.Action) []tu.Action {
	s.legs[notifier].dlg.Refresh(ev.Msg)
	do = s.open(subscriber, do)
	do = s.relay(notifier, ev, do)
	switch state, left, said := stateOf(ev.Msg); {
	case state == "terminated":
		return s.finish(do)
	case said && left > 0:
		// "the 'expires' parameter … the subscriber SHOULD take it as the authoritative subscription duration" (RFC 6665
		// §4.1.3).
		s.expiresAt = now.Add(left + margin)
	}
	if !s.expiresAt.IsZero() {
		s.silentAt = time.Time{} // but after the end was asked for, the NOTIFY that ends is awaited still
	}
	return do
}

// stateOf reads Subscription-State: active, pending or terminated, and how long the subscription lives.
func stateOf(m *message.Message) (state string, left time.Duration, said bool) {
	v, _ := m.Get("Subscription-State")
	state, rest, _ := strings.Cut(v, ";")
	for p := range strings.SplitSeq(rest, ";") {
		if name, value, _ := strings.Cut(p, "="); strings.EqualFold(strings.TrimSpace(name), "expires") {
			left, said = parseSeconds(value)
		}
	}
	return strings.ToLower(strings.TrimSpace(state)), left, said
}

// establish makes the dialog with the notifier of its first NOTIFY. The SUBSCRIBE may have forked: of several notifiers the
// first one counts (RFC 6665 §4.1.2.4, §4.4.1).
func (s *Subscription) establish(ev tu.Arrived, do []tu.Action) []tu.Action {
	l, m := &s.legs[notifier], ev.Msg
	d, err := dialog.UAS(m, l.tag)
	if err != nil {
		// No Contact, or routes that cannot be read: what led to it once leads to it again.
		d = dialog.Dialog{CallID: m.CallID, Remote: m.From, RemoteSeq: m.CSeq, Target: s.sent.URI}
	}
	if len(d.Routes) == 0 {
		// RFC 6665 §4.4.1 takes the route set of the NOTIFY; proxies older than that leave themselves out of it, and
		// what lies behind them listens to nobody else.
		d.Routes = l.dlg.Routes
	}
	d.State = dialog.Confirmed
	d.Local, d.LocalSeq = s.sent.From, max(s.sent.CSeq, l.dlg.LocalSeq)
	l.dlg, l.made, s.notified = d, true, true
	for i := range s.attempts {
		if h := s.hops[i]; sameHost(h.Flow, ev.Flow) && h.Flow.Interface == ev.Flow.Interface {
			return s.settle(h, do)
		}
	}
	return do
}

// find tells which leg a request belongs to, -1 if none.
func (s *Subscription) find(m *message.Message) int {
	for from := range s.legs {
		l := &s.legs[from]
		if l.tag == "" || l.callID != m.CallID || l.tag != m.To.Tag {
			continue
		}
		if l.opened && (from == notifier && !s.notified || l.dlg.Remote.Tag == m.From.Tag) {
			return from
		}
	}
	return -1
}
