package exchange

import (
	"time"

	"sallyport/sbc/digest"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// A peer with an account may ask for a password (RFC 3261 §22). The request goes to it once more, with the next number, and the asker
// hears of the answer to that alone.

// authorize gives a request to a peer with an account the credentials that the peer has let us in by before.
func (e *Exchange) authorize(now time.Time, s tu.Send) {
	if s.Hop.Peer.Account == nil {
		return
	}
	if e.creds == nil {
		e.creds = digest.NewBook(e.set.Keys)
	}
	e.creds.Sign(now, s)
}

// answersChallenge sends a request once more, with the credentials that it was challenged for; false: there are none.
func (e *Exchange) answersChallenge(now time.Time, a *attempt, was digest.Asked, m *message.Message, do []tu.Action) (_ []tu.Action, again bool) {
	if was.Hop.Peer.Kind == tu.KindNode && e.legs[asker].phone() {
		return do, false // the PBX means the phone
	}
	if !e.creds.Answer(now, &was, m, e.ids.CallID()) {
		return do, false
	}
	next := e.creds.Again(now, was, e.newRef(), was.Msg.CSeq+1)
	a.ref, a.sent, a.done = next.Ref, next.Msg, false
	e.cseq = max(e.cseq, next.Msg.CSeq) // other hops may be behind the same door
	return append(do, next), true
}

// newRef names a request of ours.
func (e *Exchange) newRef() tu.Ref {
	e.lastRef++
	return e.lastRef
}
