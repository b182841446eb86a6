package event

import (
	"slices"
	"time"

	"sallyport/sbc/dialog"
	"sallyport/sbc/header"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// relay is a request of a dialog on its way to the other leg: a SUBSCRIBE that refreshes or ends, a NOTIFY.
type relay struct {
	from int // leg it came from
	tx   tu.TxID
	ref  tu.Ref
	req  *message.Message
}

// relay sends a request on as a request of the other leg's dialog.
func (s *Subscription) relay(from int, ev tu.Arrived, do []tu.Action) []tu.Action {
	to, m := &s.legs[1-from], ev.Msg
	out := to.dlg.Request(m.Method, 0)
	out.MaxForwards = header.Forwards(m)
	out.Headers = append(out.Headers, header.Contact(to.hop, to.user, to.secure))
	dir, hosts := s.hosts(from)
	header.Copy(dir, m, out, hosts)
	if !s.copyBody(from, out, m) {
		do = s.bodyStays(from, ev, do)
	}
	s.numbered(from, out)
	s.lastHand(1-from, m, out)
	r := relay{from: from, tx: ev.Tx, ref: s.newRef(), req: m}
	s.relays = append(s.relays, r)
	return append(do, tu.Send{Ref: r.ref, Msg: out, Hop: to.next(), Hide: &s.legs[from].brought})
}

// take removes the relay of a request of ours.
func (s *Subscription) take(ref tu.Ref) (r relay, ok bool) {
	k := slices.IndexFunc(s.relays, func(r relay) bool { return r.ref == ref })
	if k < 0 {
		s.own = slices.DeleteFunc(s.own, func(x tu.Ref) bool { return x == ref })
		return r, false
	}
	r = s.relays[k]
	s.relays = slices.Delete(s.relays, k, k+1)
	return r, true
}

// relayAnswered passes the far side's final answer.
func (s *Subscription) relayAnswered(now time.Time, ev tu.Answered, do []tu.Action) []tu.Action {
	r, ok := s.take(ev.Ref)
	if !ok {
		return do
	}
	m, far := ev.Msg, &s.legs[1-r.from]
	do = s.answeredBy(1-r.from, ev.Flow, do)
	far.brought.Notice(m, ev.Flow.Remote.Addr())
	if m.Status >= 300 {
		out, do := s.verdict(now, r.from, m, r.req, 403, do)
		do = s.respond(r.from, r.tx, out, do)
		if r.from == subscriber && (m.Status == 503 || m.Status == 408) && s.renewable() {
			return s.deactivate(m, do)
		}
		if gone(m.Status) || r.req.Method == "NOTIFY" && m.Status == 408 {
			return s.finish(do)
		}
		return do
	}
	if r.req.Method == "SUBSCRIBE" {
		// Both are target refreshes (RFC 6665 §4.4.1, RFC 3261 §12.2).
		far.dlg.Refresh(m)
		s.legs[r.from].dlg.Refresh(r.req)
		if !s.over {
			s.expires(now, m, r.req)
		}
	}
	out := s.relayed(m, r.req, 1-r.from)
	s.copyBody(1-r.from, out, m)
	return s.respond(r.from, r.tx, out, do)
}

// gone reports whether an answer says that the subscription is no more: "404, 405, 410, 416, 480-485, 489, 501, or 604" to
// a SUBSCRIBE that refreshes (RFC 6665 §4.1.2.2) or to a NOTIFY (§4.2.2; RFC 5057 §5.1).
func gone(code int) bool {
	switch code {
	case 404, 405, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604:
		return true
	default:
		return false
	}
}

// relayFailed hears that a relayed request gets no answer.
func (s *Subscription) relayFailed(ev tu.Failed, do []tu.Action) []tu.Action {
	r, ok := s.take(ev.Ref)
	if !ok {
		return do
	}
	code, far := ev.Code, &s.legs[1-r.from]
	lost := ev.Why == reason.Timeout
	switch {
	case lost && far.phone():
		code = 480 // its connection is gone, or it sleeps
	case code == 408:
		code = 504 // "MUST NOT send a 408 to a non-INVITE request" (RFC 4320 §4.2)
	}
	do = s.answer(r.from, r.tx, r.req, code, do)
	if lost && r.from == subscriber && s.renewable() {
		return s.deactivate(nil, do)
	}
	if lost && r.req.Method == "NOTIFY" || gone(code) {
		// "If the NOTIFY request fails due to expiration of SIP Timer F … the notifier SHOULD remove the subscription" (RFC
		// 6665 §4.2.2). A refresh that is lost changes nothing: the subscription lives as long as was last said
		// (§4.1.2.2).
		return s.finish(do)
	}
	return do
}

// next is where a request of the leg's dialog goes now.
func (l *leg) next() tu.Hop {
	hop := l.hop
	hop.Flow = hop.Toward(l.dlg.NextHop())
	return hop
}

// last is a request of our own that ends a leg of the subscription; the core gives one of an aborted user its number.
func (l *leg) last(method string, d *dialog.Dialog, seq uint32, fields ...message.Header) *message.Message {
	m := d.Request(method, seq)
	m.Headers = append(m.Headers, header.Contact(l.hop, l.user, l.secure))
	m.Headers = append(m.Headers, fields...)
	return m
}
