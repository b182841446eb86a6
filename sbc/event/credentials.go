package event

import (
	"slices"

	"sallyport/sbc/digest"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// A peer with an account may ask for a password (RFC 3261 §22). The request goes to it once more, in the same dialog, with the next
// number, and whoever waits for its answer waits for that of the new one. Later requests of the leg have credentials unasked. The
// other leg never sees any of it.

// credentials are what a subscription knows of peers that may ask for a password. One whose peers have no account has none.
type credentials struct {
	clients []answerer
	sent    []asked
	why     error // why the challenge at hand has no answer; nil: it was nobody's to answer
}

// answerer answers the challenges of a peer in the dialogs of one Call-ID.
type answerer struct {
	callID  string
	account *tu.Account
	digest.Client
}

// asked is a request to a peer that may ask for a password, until it has its final answer.
type asked struct {
	tu.Send
	tries int // challenges it has had
}

// maxAsked bounds the requests that are kept: more than a subscription may have open.
const maxAsked = 32

// authorize gives what a Step sends to peers with an account the credentials that they have asked for, and keeps it: they may ask for
// more.
func (s *Subscription) authorize(from int, do []tu.Action) []tu.Action {
	for _, a := range do[from:] {
		a, ok := a.(tu.Send)
		if !ok || a.Hop.Peer.Account == nil {
			continue
		}
		if s.creds == nil {
			s.creds = &credentials{}
		}
		k := s.creds
		if x := k.clientOf(&a); x != nil {
			x.Sign(a.Msg)
		}
		if k.find(a.Ref) < 0 { // else it is a retry, which is noted
			if len(k.sent) >= maxAsked {
				k.sent = slices.Delete(k.sent, 0, 1)
			}
			k.sent = append(k.sent, asked{Send: a})
		}
	}
	return do
}

func (k *credentials) find(ref tu.Ref) int {
	return slices.IndexFunc(k.sent, func(a asked) bool { return a.Ref == ref })
}

func (k *credentials) clientOf(a *tu.Send) *answerer {
	for i := range k.clients {
		if x := &k.clients[i]; x.callID == a.Msg.CallID && x.account == a.Hop.Peer.Account {
			return x
		}
	}
	return nil
}

// challengeHeard takes the answers to what may be challenged; taken is true for a challenge that has been answered.
func (s *Subscription) challengeHeard(ev tu.Event, do []tu.Action) (_ []tu.Action, taken bool) {
	k := s.creds
	switch ev := ev.(type) {
	case tu.Failed:
		if i := k.find(ev.Ref); i >= 0 {
			k.sent = slices.Delete(k.sent, i, i+1)
		}
	case tu.Answered:
		i := k.find(ev.Ref)
		if i < 0 || ev.Msg.Status < 200 {
			return do, false
		}
		a := k.sent[i]
		k.sent, k.why = slices.Delete(k.sent, i, i+1), nil
		if ev.Msg.Status == 401 || ev.Msg.Status == 407 {
			return s.answerChallenge(a, ev.Msg, do)
		}
		if x := k.clientOf(&a.Send); x != nil {
			x.Heard(ev.Msg)
		}
	}
	return do, false
}

// answerChallenge sends a request once more, with the credentials that it was challenged for.
func (s *Subscription) answerChallenge(a asked, m *message.Message, do []tu.Action) ([]tu.Action, bool) {
	k, peer := s.creds, a.Hop.Peer
	if peer.Kind == tu.KindNode && (s.legs[subscriber].phone() || s.legs[notifier].phone()) {
		return do, false // the PBX means the phone
	}
	wait := s.waiterOf(a.Ref)
	if wait == nil {
		return do, false
	}
	x := k.clientOf(&a.Send)
	if x == nil {
		k.clients = append(k.clients, answerer{callID: a.Msg.CallID, account: peer.Account})
		x = &k.clients[len(k.clients)-1]
	}
	if k.why = x.Answer(m, a.Msg, a.tries, digest.Account(*peer.Account), s.ids.CallID()); k.why != nil {
		return do, false
	}
	again := *a.Msg
	again.Via, again.CSeq = nil, s.nextSeq(a.Msg)
	a.Ref, a.Msg, a.tries = s.newRef(), &again, a.tries+1
	wait(a.Ref, &again)
	k.sent = append(k.sent, a)
	return append(do, a.Send), true
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

// unanswered says what is wrong with the account of a peer whose challenge has no answer; keys names where it is written. Without an
// account it is otherwise.
func (s *Subscription) unanswered(who, keys, otherwise string) string {
	if s.creds == nil || s.creds.why == nil {
		return otherwise
	}
	return digest.Complaint(s.creds.why, who, keys)
}
