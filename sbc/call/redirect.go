package call

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"sallyport/sbc/header"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// A 3xx says where else the callee is (RFC 3261 §8.1.3.4). Of a provider it passes to the PBX, which calls again through the
// gate; or the gate goes there itself; or the callee is unavailable. Of the host in its Contact nothing is believed, for
// whoever answers could send our calls anywhere: another number of the same provider is all that is followed.

// redirection is how far a call has been redirected.
type redirection struct {
	target message.URI // whom the provider has named last
	seen   []string    // users that have been called
	asks   bool        // whether the target may be called is being asked
}

// maxRedirects bounds how often a call is redirected.
const maxRedirects = 5

// redirected takes a 3xx of a provider; taken is false where it passes.
func (c *Call) redirected(now time.Time, m *message.Message, do []tu.Action) (_ []tu.Action, taken bool) {
	b := c.legs[callee].peer
	if m.Status < 300 || m.Status > 399 || b.Kind != tu.KindTrunk {
		return do, false
	}
	switch b.Redirect {
	case tu.RedirectReject:
		return c.refuse(now, 480, reason.NoRoute, "callee", do), true
	case tu.RedirectFollow:
		if m.Status == 305 || m.Status == 380 {
			return do, false // another proxy, another service: neither is another number (RFC 3261 §21.3.4, §21.3.5)
		}
		return c.follow(now, m, do), true
	case tu.RedirectPass:
	}
	return do, false
}

// follow calls the first number of a 3xx that has not been called yet: "a UAC … MUST NOT add … a given URI more than once to
// the target set" (RFC 3261 §8.1.3.4).
func (c *Call) follow(now time.Time, m *message.Message, do []tu.Action) []tu.Action {
	if c.redirection == nil {
		c.redirection = &redirection{seen: []string{header.ContactUser(header.RewriteURIHost(c.invite.URI, "x"))}}
	}
	r := c.redirection
	for _, u := range targets(m) {
		if len(r.seen) > maxRedirects {
			break
		}
		user := header.ContactUser(header.RewriteURIHost(u, "x"))
		if user == "" || slices.Contains(r.seen, user) {
			continue
		}
		r.target, r.seen, r.asks = u, append(r.seen, user), true
		c.attemptAt, c.ringAt = time.Time{}, time.Time{}
		hop, m := c.attempts[len(c.attempts)-1].hop, *c.invite
		m.URI = u
		return append(do, tu.Route{Msg: &m, Peer: c.legs[caller].peer, Anew: true, Chosen: hop.Flow, By: &hop})
	}
	return c.refuse(now, 480, reason.Loop, "callee", do)
}

// followed hears whether the number may be called.
func (c *Call) followed(now time.Time, ev tu.Routed, do []tu.Action) []tu.Action {
	c.redirection.asks = false
	if len(ev.Hops) == 0 {
		c.cdrPeer(ev.Peer)
		return c.refuse(now, max(ev.Code, 400), ev.Why, "sbc", do)
	}
	at := len(c.attempts)
	c.hops = slices.Insert(slices.Clone(c.hops), at, c.attempts[at-1].hop)
	c.cseq++ // "the same To, From, and Call-ID …, but … a new branch ID", and it is another request (RFC 3261 §8.1.3.4)
	return c.nextHop(now, 480, reason.NoRoute, do)
}

// targets are the Contacts of a 3xx that can be called, the best first: "the UAC … SHOULD … in order of q-value" (RFC 3261
// §8.1.3.4, §20.10).
func targets(m *message.Message) (out []message.URI) {
	list, star, err := m.Contacts()
	if err != nil || star {
		return nil
	}
	q := func(n message.NameAddr) float64 {
		text, ok := n.Param("q")
		if !ok {
			return 1
		}
		v, err := strconv.ParseFloat(text, 64)
		if err != nil || !(v >= 0 && v <= 1) {
			return 0
		}
		return v
	}
	slices.SortStableFunc(list, func(a, b message.NameAddr) int { return cmp.Compare(q(b), q(a)) })
	for _, n := range list {
		switch n.URI.Scheme {
		case "sip", "sips", "tel":
			n.URI.Headers = ""
			out = append(out, n.URI)
		}
	}
	return out
}

// calledNow is whom the INVITE to the callee is for: whom the caller has asked for, or where the provider has sent us since.
func (c *Call) calledNow() message.URI {
	if c.redirection != nil {
		return c.redirection.target
	}
	return c.invite.URI
}
