package call

import (
	"errors"
	"slices"
	"time"

	"sallyport/sbc/dialog"
	"sallyport/sbc/digest"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// A peer with an account may ask for a password (RFC 3261 §22). What it asks for is answered here, before anybody else hears of the
// challenge: the same request goes once more, in the same dialog, with the next number; whoever waits for its answer waits for that
// of the new one. Later requests of the same Call-ID have credentials before they are asked. Other legs never see any of it: challenge
// and credentials are of one leg, and header fields of theirs are in no list of what may pass.

// credentials are what a call knows of peers that may ask for a password. A call whose peers have no account has none.
type credentials struct {
	clients []answerer
	sent    []asked
	why     error // why the challenge at hand has no answer; nil: it was nobody's to answer
}

// answerer answers the challenges of a peer in the dialogs of one Call-ID. What another peer of the same leg may know, the next hop,
// is in another account's hands.
type answerer struct {
	callID  string
	account *tu.Account
	digest.Client
}

// asked is a request to a peer that may ask for a password. An INVITE stays when it is answered: its ACK has the same credentials.
type asked struct {
	tu.Send
	tries int // challenges it has had
	done  bool
}

// errGivenUp is why the challenge of a request has no answer that nobody waits for any more.
var errGivenUp = errors.New("call: the request was given up")

// accountKeys are where accounts at trunks are written.
const accountKeys = "trunks[].credentials or .registration"

// maxAsked bounds the requests that are kept: more than a call may have open.
const maxAsked = 64

// authorize gives what a Step sends to peers with an account the credentials that they have asked for, and keeps it: they may ask for more.
func (c *Call) authorize(from int, do []tu.Action) []tu.Action {
	for _, a := range do[from:] {
		switch a := a.(type) {
		case tu.Send:
			if a.Hop.Peer.Account != nil {
				c.signRequest(a)
			}
		case tu.SendAck:
			if a.Hop.Peer.Account != nil && c.creds != nil {
				c.creds.signAck(a.Msg)
			}
		}
	}
	return do
}

func (c *Call) signRequest(a tu.Send) {
	if c.creds == nil {
		c.creds = &credentials{}
	}
	k := c.creds
	if x := k.clientOf(a.Msg.CallID, a.Hop.Peer.Account); x != nil {
		x.Sign(a.Msg)
	}
	if k.find(a.Ref) >= 0 {
		return // it is a retry, which is noted
	}
	k.keep(asked{Send: a})
}

// keep notes a request. Where there are too many, an answered one goes, else the oldest.
func (k *credentials) keep(a asked) {
	if len(k.sent) >= maxAsked {
		i := max(0, slices.IndexFunc(k.sent, func(x asked) bool { return x.done }))
		k.sent = slices.Delete(k.sent, i, i+1)
	}
	k.sent = append(k.sent, a)
}

func (k *credentials) find(ref tu.Ref) int {
	return slices.IndexFunc(k.sent, func(a asked) bool { return a.Ref == ref })
}

func (k *credentials) clientOf(callID string, account *tu.Account) *answerer {
	for i := range k.clients {
		if x := &k.clients[i]; x.callID == callID && x.account == account {
			return x
		}
	}
	return nil
}

// signAck gives an ACK what its INVITE had: "UACs creating an ACK message will duplicate all of the Authorization and
// Proxy-Authorization header field values that appeared in the INVITE" (RFC 3261 §22.1).
func (k *credentials) signAck(ack *message.Message) {
	for i := len(k.sent) - 1; i >= 0; i-- {
		m := k.sent[i].Msg
		if m.Method == "INVITE" && m.CallID == ack.CallID && m.CSeq == ack.CSeq && m.From.Tag == ack.From.Tag {
			digest.Copy(m, ack)
			return
		}
	}
}

// challengeHeard takes the answers to what may be challenged; taken is true for a challenge that has been answered.
func (c *Call) challengeHeard(now time.Time, ev tu.Event, do []tu.Action) (_ []tu.Action, taken bool) {
	k := c.creds
	switch ev := ev.(type) {
	case tu.Failed:
		if i := k.find(ev.Ref); i >= 0 {
			k.sent = slices.Delete(k.sent, i, i+1)
		}
	case tu.Answered:
		i := k.find(ev.Ref)
		if i < 0 || ev.Msg.Status < 200 || k.sent[i].done {
			return do, false
		}
		a := k.sent[i]
		if ok := ev.Msg.Status < 300; ok {
			if x := k.clientOf(a.Msg.CallID, a.Hop.Peer.Account); x != nil {
				x.Heard(ev.Msg)
			}
			if k.sent[i].done = true; a.Msg.Method == "INVITE" {
				return do, false
			}
		}
		k.sent = slices.Delete(k.sent, i, i+1)
		k.why = nil
		if challenge(ev.Msg.Status) {
			return c.answerChallenge(now, a, ev.Msg, do)
		}
	}
	return do, false
}

// answerChallenge sends a request once more, with the credentials that it was challenged for. "When a UAC resubmits a request with its
// credentials …, it MUST increment the CSeq header field value as it would normally when sending an updated request" (RFC 3261 §22.1).
func (c *Call) answerChallenge(now time.Time, a asked, m *message.Message, do []tu.Action) ([]tu.Action, bool) {
	if a.Hop.Peer.Kind == tu.KindNode && (c.legs[caller].phone() || c.legs[callee].phone()) {
		return do, false // the PBX means the phone
	}
	k, wait := c.creds, c.waiterOf(now, a.Ref, a.Msg.Method)
	if wait == nil {
		k.why = errGivenUp
		return do, false
	}
	x := k.clientOf(a.Msg.CallID, a.Hop.Peer.Account)
	if x == nil {
		k.clients = append(k.clients, answerer{callID: a.Msg.CallID, account: a.Hop.Peer.Account})
		x = &k.clients[len(k.clients)-1]
	}
	if k.why = x.Answer(m, a.Msg, a.tries, digest.Account(*a.Hop.Peer.Account), c.ids.CallID()); k.why != nil {
		return do, false
	}
	again := *a.Msg
	again.Via, again.CSeq = nil, c.nextSeq(a.Msg)
	c.lastRef++
	a.Ref, a.Msg, a.tries = c.lastRef, &again, a.tries+1
	wait(a.Ref, &again)
	k.keep(a)
	return append(do, a.Send), true
}

// nextSeq is the number of a request that goes once more in its dialog; that of an INVITE is also beyond what its early dialogs have had.
func (c *Call) nextSeq(m *message.Message) uint32 {
	n := m.CSeq + 1
	var of []*dialog.Dialog
	look := func(d *dialog.Dialog) {
		if d.CallID == m.CallID && d.Local.Tag == m.From.Tag && (m.To.Tag == "" || d.Remote.Tag == m.To.Tag) {
			of = append(of, d)
			n = max(n, d.LocalSeq+1)
		}
	}
	for i := range c.pairs {
		look(&c.pairs[i].dlg[caller])
		look(&c.pairs[i].dlg[callee])
	}
	if c.moves != nil {
		if t := c.moves.third; t != nil {
			look(&t.dlg)
		}
		if t := c.moves.taker; t != nil {
			look(&t.dlg)
		}
	}
	for _, d := range of {
		d.LocalSeq = n
	}
	return n
}

// waiterOf finds who waits for the answer to a request; the function has it wait for that of another one. Nil: nobody does, or what was
// asked for is not wanted any more.
func (c *Call) waiterOf(now time.Time, ref tu.Ref, method string) func(ref tu.Ref, m *message.Message) {
	if a := c.attemptOf(ref); a != nil {
		if a.given || a.done || c.final {
			return nil
		}
		return func(ref tu.Ref, m *message.Message) {
			a.ref, a.sent, c.cseq = ref, m, m.CSeq
			c.disown()
			c.timerC = now.Add(timerC(a.hop.Peer))
		}
	}
	if t, a := c.thirdOf(ref); a != nil {
		if a.given || a.done || t.phase != calling {
			return nil
		}
		return func(ref tu.Ref, m *message.Message) {
			a.ref, a.sent = ref, m
			t.timerC = now.Add(timerC(a.hop.Peer))
		}
	}
	if w := c.waiterInDialog(ref); w != nil {
		return w
	}
	// Of what is awaited to no purpose, a BYE must come through, and a NOTIFY tells of another usage of the dialog; a PRACK is of an
	// INVITE that still waits.
	if i := slices.Index(c.byes, ref); i >= 0 && (method == "BYE" || method == "NOTIFY" || method == "PRACK" && !c.final) {
		return func(ref tu.Ref, _ *message.Message) { c.byes[i] = ref }
	}
	return nil
}

// waiterInDialog is waiterOf for requests within dialogs. One of INVITE without Timer C was cancelled.
func (c *Call) waiterInDialog(ref tu.Ref) func(ref tu.Ref, m *message.Message) {
	if i := c.relayTo(ref); i >= 0 {
		r := &c.relays[i]
		ends := c.phase == ending && r.method != "NOTIFY" // which may outlive the call
		if r.answered || r.closed || r.lost || ends || r.method == "INVITE" && r.timerC.IsZero() {
			return nil
		}
		return func(ref tu.Ref, m *message.Message) {
			if r.req.Method == "REFER" && c.moves != nil {
				if s := slices.IndexFunc(c.moves.subs, r.opened); s >= 0 {
					c.moves.subs[s].far = m.CSeq // by which NOTIFYs name it
				}
			}
			r.ref, r.seq = ref, m.CSeq
		}
	}
	if i := c.ownOf(ref); i >= 0 {
		o := &c.owns[i]
		if c.phase == ending || o.owes || o.method == "INVITE" && o.timerC.IsZero() {
			return nil
		}
		return func(ref tu.Ref, m *message.Message) { o.ref, o.seq = ref, m.CSeq }
	}
	if i := c.toldBy(ref); i >= 0 && c.phase != ending {
		return func(ref tu.Ref, _ *message.Message) { c.legs[i].keys.ref = ref }
	}
	return nil
}

// unanswered says what is wrong with the account of a peer whose challenge has no answer; keys names where it is written. Empty: it
// has none, or had nothing to do with it.
func (c *Call) unanswered(who, keys string) string {
	if c.creds == nil || c.creds.why == nil || c.givenUp() {
		return ""
	}
	return digest.Complaint(c.creds.why, who, keys)
}

// givenUp reports whether the challenge at hand came to a request that had been given up.
func (c *Call) givenUp() bool { return c.creds != nil && errors.Is(c.creds.why, errGivenUp) }
