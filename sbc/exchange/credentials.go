package exchange

import (
	"sallyport/sbc/digest"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// A peer with an account may ask for a password (RFC 3261 §22). The request goes to it once more, with the next number, and the asker
// hears of the answer to that alone.

// answersChallenge sends a request once more, with the credentials that it was challenged for; false: there are none. "When a UAC
// resubmits a request with its credentials …, it MUST increment the CSeq" (RFC 3261 §22.1, shortened).
func (e *Exchange) answersChallenge(a *attempt, m *message.Message, do []tu.Action) (_ []tu.Action, again bool) {
	hop := e.hops[a.at]
	account := hop.Peer.Account
	e.why = nil
	if m.Status != 401 && m.Status != 407 || account == nil {
		return do, false
	}
	if hop.Peer.Kind == tu.KindNode && e.legs[asker].phone() {
		return do, false // the PBX means the phone
	}
	if a.client == nil {
		a.client = &digest.Client{}
	}
	if e.why = a.client.Answer(m, a.sent, a.tries, digest.Account(*account), e.ids.CallID()); e.why != nil {
		return do, false
	}
	next := *a.sent
	next.Via, next.CSeq = nil, a.sent.CSeq+1
	a.client.Sign(&next)
	a.ref, a.sent, a.done = e.newRef(), &next, false
	a.tries++
	e.cseq = max(e.cseq, next.CSeq) // other hops may be behind the same door
	return append(do, tu.Send{Ref: a.ref, Msg: &next, Hop: hop, Hide: &e.legs[asker].brought}), true
}

// newRef names a request of ours.
func (e *Exchange) newRef() tu.Ref {
	e.lastRef++
	return e.lastRef
}

// unanswered says what is wrong with the account of a peer whose challenge has no answer; keys names where it is written. Without an
// account it is otherwise.
func (e *Exchange) unanswered(who, keys, otherwise string) string {
	if e.why == nil {
		return otherwise
	}
	return digest.Complaint(e.why, who, keys)
}
