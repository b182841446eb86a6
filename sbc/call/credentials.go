package call

import (
	"slices"
	"time"

	"sallyport/sbc/dialog"
	"sallyport/sbc/digest"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// A peer with an account may ask for a password (RFC 3261 §22). What it asks for is answered here, before anybody else hears of the
// challenge: the same request goes once more, in the same dialog, with the next number; whoever waits for its answer waits for that
// of the new one. Other legs never see any of it: challenge and credentials are of one leg, and header fields of theirs are in no list
// of what may pass.

// accountKeys are where accounts at trunks are written.
const accountKeys = "trunks[].credentials or .registration"

// authorize gives what a Step sends to peers with an account the credentials that they have asked for, and keeps it: they may ask for more.
func (c *Call) authorize(now time.Time, from int, do []tu.Action) []tu.Action {
	for _, a := range do[from:] {
		switch a := a.(type) {
		case tu.Send:
			if a.Hop.Peer.Account != nil {
				if c.creds == nil {
					c.creds = digest.NewBook(c.set.Keys)
				}
				c.creds.Sign(now, a)
			}
		case tu.SendAck:
			if a.Hop.Peer.Account != nil {
				c.creds.SignAck(a.Msg)
			}
		}
	}
	return do
}

// challengeHeard takes the answers to what may be challenged; taken is true for a challenge that has been answered.
func (c *Call) challengeHeard(now time.Time, ev tu.Event, do []tu.Action) (_ []tu.Action, taken bool) {
	a, challenged := c.creds.Heard(now, ev)
	switch {
	case !challenged:
		return do, false
	case a.Hop.Peer.Kind == tu.KindNode && (c.legs[caller].phone() || c.legs[callee].phone()):
		return do, false // the PBX means the phone
	}
	wait := c.waiterOf(now, a.Ref, a.Msg.Method)
	if wait == nil {
		c.creds.GiveUp()
		return do, false
	}
	if !c.creds.Answer(now, &a, ev.(tu.Answered).Msg, c.ids.CallID()) {
		return do, false
	}
	c.lastRef++
	again := c.creds.Again(now, a, c.lastRef, c.nextSeq(a.Msg))
	wait(again.Ref, again.Msg)
	return append(do, again), true
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
