package event

import (
	"slices"
	"time"

	"sallyport/sbc/digest"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// A peer with an account may ask for a password (RFC 3261 §22). The request goes to it once more, in the same dialog, with the next
// number, and whoever waits for its answer waits for that of the new one. The other leg never sees any of it.

// authorize gives what a Step sends to peers with an account the credentials that they have asked for, and keeps it: they may ask for
// more.
func (s *Subscription) authorize(now time.Time, from int, do []tu.Action) []tu.Action {
	for _, a := range do[from:] {
		if a, ok := a.(tu.Send); ok && a.Hop.Peer.Account != nil {
			if s.creds == nil {
				s.creds = digest.NewBook(s.set.Keys)
			}
			s.creds.Sign(now, a)
		}
	}
	return do
}

// challengeHeard takes the answers to what may be challenged; taken is true for a challenge that has been answered.
func (s *Subscription) challengeHeard(now time.Time, ev tu.Event, do []tu.Action) (_ []tu.Action, taken bool) {
	a, challenged := s.creds.Heard(now, ev)
	switch {
	case !challenged:
		return do, false
	case a.Hop.Peer.Kind == tu.KindNode && (s.legs[subscriber].phone() || s.legs[notifier].phone()):
		return do, false // the PBX means the phone
	}
	wait := s.waiterOf(a.Ref)
	if wait == nil {
		s.creds.GiveUp()
		return do, false
	}
	if !s.creds.Answer(now, &a, ev.(tu.Answered).Msg, s.ids.CallID()) {
		return do, false
	}
	again := s.creds.Again(now, a, s.newRef(), s.nextSeq(a.Msg))
	wait(again.Ref, again.Msg)
	return append(do, again), true
}

// nextSeq is the number of a request that goes once more: "it MUST increment the CSeq header field value as it would normally"
// (RFC 3261 §22.1).
func (s *Subscription) nextSeq(m *message.Message) uint32 {
	n := m.CSeq + 1
	for i := range s.legs {
		if l := &s.legs[i]; l.callID == m.CallID && l.tag == m.From.Tag {
			n = max(n, l.dlg.LocalSeq+1)
			l.dlg.LocalSeq = n
		}
	}
	return n
}

// waiterOf finds who waits for the answer to a request; the function has it wait for that of another one. Nil: nobody does.
func (s *Subscription) waiterOf(ref tu.Ref) func(ref tu.Ref, m *message.Message) {
	if i := s.attemptOf(ref); i >= 0 {
		if s.phase != asking || !s.legs[notifier].opened {
			return nil // somebody else's answer was taken, or a NOTIFY has ended it
		}
		return func(ref tu.Ref, m *message.Message) {
			a := &s.attempts[i]
			if a == s.current() {
				s.sent = m
			}
			s.lives(a.ref)
			a.ref = ref
		}
	}
	if i := slices.IndexFunc(s.relays, func(r relay) bool { return r.ref == ref }); i >= 0 {
		if !s.legs[1-s.relays[i].from].opened {
			return nil // the dialog is over
		}
		return func(ref tu.Ref, _ *message.Message) { s.relays[i].ref = ref }
	}
	if i := slices.Index(s.own, ref); i >= 0 {
		return func(ref tu.Ref, _ *message.Message) { s.own[i] = ref }
	}
	return nil
}
