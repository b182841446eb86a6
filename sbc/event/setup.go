package event

import (
	"strings"
	"time"

	"sallyport/sbc/dialog"
	"sallyport/sbc/header"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// allow is what may be asked in a dialog of ours, as a value of Allow.
const allow = "SUBSCRIBE, NOTIFY"

// begin takes the first SUBSCRIBE: what is wrong with it is said before anybody is asked.
func (s *Subscription) begin(ev tu.Arrived, do []tu.Action) []tu.Action {
	m := ev.Msg
	if s.phase != unborn {
		return s.stray(ev, 482, do) // the core makes one subscription of one request
	}
	if ev.Peer == nil {
		s.phase, s.over = refused, true
		return s.stray(ev, 403, do)
	}
	s.req, s.tx, s.phase = m, ev.Tx, routing
	a := &s.legs[subscriber]
	a.hop = tu.Hop{Peer: ev.Peer, Here: ev.Here, Flow: ev.Flow}
	a.callID, a.tag = m.CallID, s.ids.Tag()
	a.user = header.ContactUser(header.RewriteURIHost(m.URI, ev.Here.Signal.String()))
	a.brought.Notice(m, ev.Flow.Remote.Addr())
	s.name()
	if m.To.Tag != "" {
		return s.refuse(481, do) // RFC 3261 §12.2.2: it speaks of a dialog, and there is none
	}
	if !Starts(m.Method) {
		return s.refuse(405, do, message.Header{Name: "Allow", Value: header.Methods})
	}
	// "If a UAS does not understand an option-tag listed in a Require header field, it MUST respond with 420" (RFC 3261
	// §8.2.2.3).
	if tags := header.Unsupported(m); len(tags) > 0 {
		return s.refuse(420, do, message.Header{Name: "Unsupported", Value: strings.Join(tags, ", ")})
	}
	// "If the Max-Forwards value is 0 … 483" (RFC 3261 §16.3; RFC 7332 §4: a B2BUA does as a proxy does).
	if m.MaxForwards == 0 {
		return s.refuse(483, do)
	}
	if code := s.purpose(ev); code != 0 {
		return s.refuse(code, do)
	}
	d, err := dialog.UAS(m, a.tag)
	if err != nil {
		return s.refuse(400, do) // no Contact: nobody could be notified
	}
	a.dlg, a.made = d, true
	a.secure = a.phone() && (m.URI.Scheme == "sips" || d.Target.Scheme == "sips")
	return append(do, tu.Route{Msg: m, Peer: ev.Peer})
}

// purpose finds out what is subscribed to; code is why it cannot be, or 0.
func (s *Subscription) purpose(ev tu.Arrived) (code int) {
	if ev.Msg.Method == "REFER" {
		s.kind = "refer" // implicitly (RFC 3515 §2.4.4)
		return referral(ev)
	}
	// "Subscribers MUST include exactly one Event header field in SUBSCRIBE requests" (RFC 6665 §8.2.1).
	if s.kind = packageOf(ev.Msg); s.kind == "" {
		return 489
	}
	return 0
}

// packageOf is the event package that a message names: "message-summary" of "message-summary;id=7".
func packageOf(m *message.Message) string {
	v, _ := m.Get("Event")
	name, _, _ := strings.Cut(v, ";")
	return strings.TrimSpace(name)
}

// routed takes the plan.
func (s *Subscription) routed(now time.Time, ev tu.Routed, do []tu.Action) []tu.Action {
	if s.phase != routing {
		return do
	}
	if len(ev.Hops) == 0 {
		return s.refuseFor(ev.Code, ev.Why, do)
	}
	if s.req.Method == "REFER" {
		if ev.Hops = referable(ev.Hops); len(ev.Hops) == 0 {
			return s.refuse(603, do)
		}
	}
	s.hops, s.phase = ev.Hops, asking
	return s.nextHop(now, 0, "", do)
}

// attempt is the first SUBSCRIBE as it went to one hop: same Call-ID, tag and CSeq as the others, another branch.
type attempt struct {
	ref  tu.Ref
	done bool // it has its final answer, or never gets one
}

// patience is the least that a hop is given to say something. One that lives owes a 100 or its final answer by then: "an
// SIP element MUST respond to a non-INVITE request with a Status-Code of 100 if it has not otherwise responded after the
// amount of time it takes a client transaction's Timer E to be reset to T2" (RFC 4320 §4.1: 3.5 s), and it must not do so
// sooner over UDP.
const patience = 4 * time.Second

// current is the attempt that was made last, nil if there is none.
func (s *Subscription) current() *attempt {
	if len(s.attempts) == 0 {
		return nil
	}
	return &s.attempts[len(s.attempts)-1]
}

func (s *Subscription) attemptOf(ref tu.Ref) int {
	for i := range s.attempts {
		if s.attempts[i].ref == ref && !s.attempts[i].done {
			return i
		}
	}
	return -1
}

// trying reports whether some attempt may still be answered.
func (s *Subscription) trying() bool {
	for i := range s.attempts {
		if !s.attempts[i].done {
			return true
		}
	}
	return false
}

// lives hears that a hop lives: the others need not be asked.
func (s *Subscription) lives(ref tu.Ref) {
	if a := s.current(); a != nil && a.ref == ref {
		s.attemptAt = time.Time{}
	}
}

// nextHop asks the next hop of the plan; code and why tell how the last one failed. With no hop left, those that were
// merely slow may still answer.
func (s *Subscription) nextHop(now time.Time, code int, why reason.Reason, do []tu.Action) []tu.Action {
	at := len(s.attempts)
	s.attemptAt = time.Time{}
	if at >= len(s.hops) || s.notified { // who has notified us has the subscription
		if s.trying() {
			return do
		}
		return s.exhausted(code, why, do)
	}
	hop := s.hops[at]
	s.legs[notifier].hop = hop
	if at+1 < len(s.hops) && hop.Peer.AttemptTimeout > 0 {
		s.attemptAt = now.Add(max(hop.Peer.AttemptTimeout, patience))
	}
	s.sent = s.outgoing(hop)
	if _, refers := s.sent.Get("Refer-To"); s.req.Method == "REFER" && !refers {
		return s.refuse(481, do) // it names a dialog that is not known there
	}
	ref := s.newRef()
	s.attempts = append(s.attempts, attempt{ref: ref})
	// The NOTIFY may come before the answer (RFC 6665 §4.1.2.4).
	do = s.open(notifier, do)
	return append(do, tu.Send{Ref: ref, Msg: s.sent, Hop: hop, Hide: &s.legs[subscriber].brought})
}

// outgoing writes the first SUBSCRIBE for a hop.
func (s *Subscription) outgoing(hop tu.Hop) *message.Message {
	in, b := s.req, &s.legs[notifier]
	dir, hosts := s.hosts(subscriber)
	m := &message.Message{
		Method: in.Method, URI: header.RequestURI(in.URI, hop, hosts), CallID: b.callID, CSeq: b.dlg.LocalSeq,
		From: header.RewriteNameAddr(in.From, hosts.From), To: header.RewriteNameAddr(in.To, hosts.To),
		MaxForwards: header.Forwards(in), Headers: make([]message.Header, 0, len(in.Headers)+2),
	}
	m.From.Tag = b.tag
	hop.Peer.Preload(m)
	header.NamePhone(&m.To.URI, hop)
	b.user, b.secure = header.ContactUser(m.From.URI), m.URI.Scheme == "sips"
	if p := s.legs[subscriber].hop.Peer; p.Token != "" {
		b.user = p.Token
	}
	if hop.Peer.Token != "" {
		s.legs[subscriber].user = hop.Peer.Token
	}
	m.Headers = append(m.Headers, header.Contact(b.hop, b.user, b.secure))
	header.Copy(dir, in, m, hosts)
	if in.Method == "REFER" {
		s.refer(m) // a REFER that lacks what it refers to is not sent
	}
	s.copyBody(subscriber, m, in)
	name := m.From.URI.User
	if s.lastHand(notifier, in, m); b.user == name {
		b.user = header.ContactUser(m.From.URI) // our Contact must not tell a name that From does not
	}
	return m
}

// exhausted refuses a subscription that no hop took.
func (s *Subscription) exhausted(code int, why reason.Reason, do []tu.Action) []tu.Action {
	code, why = tu.Untaken(&s.legs[notifier].hop, code, why)
	return s.refuseFor(code, why, do)
}
