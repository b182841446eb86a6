package call

import (
	"time"

	"sallyport/sbc/header"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// challengePasses reports whether the other leg's challenge reaches a leg: the PBX's, a phone. Their digests are between the
// two of them, and the credentials go back as they come. A provider has no account at the PBX, nor the PBX one that a
// provider's or a phone's nonce would be good for.
func (c *Call) challengePasses(to int) bool {
	return c.legs[to].phone() && c.legs[1-to].peer.Kind == tu.KindNode
}

// seen is the PBX's refusal as the caller may see it. Which users there are is nobody's business whom none knows.
func (c *Call) seen(now time.Time, m *message.Message) *message.Message {
	a := &c.legs[caller]
	switch {
	case !a.phone() || c.legs[callee].peer.Kind != tu.KindNode:
	case tu.Challenge(m.Status):
		c.set.Decoys.Keep(m)
	case a.peer.Stranger && header.Tells(m.Status):
		return c.set.Decoys.Disguise(now, c.invite, m, c.ids.Block)
	}
	return m
}

// challenged ends a call that the callee wants a password for, where that challenge does not pass.
func (c *Call) challenged(now time.Time, code int, do []tu.Action) []tu.Action {
	do = c.challengeStays(callee, "INVITE", code, do)
	if c.legs[callee].phone() {
		return c.refuse(now, 480, reason.NoRoute, "callee", do) // 503 would speak for all phones
	}
	return c.refuse(now, 503, reason.NoRoute, "callee", do)
}

// challengeStays says why a request had to fail.
func (c *Call) challengeStays(by int, method string, code int, do []tu.Action) []tu.Action {
	l := &c.legs[by]
	text := c.creds.Complaint("the trunk", accountKeys,
		"the trunk challenges our calls; set trunks[].credentials, or let the provider accept them from our address without a password")
	switch {
	case l.phone():
		text = "the phone challenges calls of the PBX; switch the authentication of incoming calls off in the phone"
	case l.peer.Kind == tu.KindNode && c.legs[1-by].phone():
		text = "the PBX challenges a request of ours that has no answer to a challenge; it may keep that call until its own timers end it"
	case l.peer.Kind == tu.KindNode:
		l = &c.legs[1-by]
		text = c.creds.Complaint("the PBX", "pbx.credentials",
			"the PBX challenges calls of this trunk; set pbx.credentials, or let it accept calls from our inside trunks address without a password")
	}
	return append(do, tu.Note{
		Source: l.hop.Flow.Remote, Side: l.peer.Side, Realm: l.peer.Realm, Method: method, Code: code, Why: reason.NoRoute,
		Text: text,
	})
}

// inDialogChallenge answers a request of a dialog whose far side wants credentials that the near side cannot have. The
// challenge itself would be of no use to it, and a 401 without one is no answer (RFC 3261 §21.4.2).
func (c *Call) inDialogChallenge(r *relay, code int, do []tu.Action) []tu.Action {
	if c.creds.GivenUp() {
		return c.answer(r.from, r.tx, r.req, 487, do)
	}
	do = c.challengeStays(1-r.from, r.req.Method, code, do)
	return c.answer(r.from, r.tx, r.req, 403, do)
}

// byeChallenged hears that a BYE of ours was challenged. Who hung up has its 200 and is gone, and with it the one who could
// answer: the leg is over for us. If the BYE that came had credentials, they went with ours.
func (c *Call) byeChallenged(m *message.Message, do []tu.Action) []tu.Action {
	for by := range c.legs {
		if c.legs[by].peer != nil && c.legs[by].callID == m.CallID && c.legs[by].bye {
			return c.challengeStays(by, "BYE", m.Status, do)
		}
	}
	return do
}
