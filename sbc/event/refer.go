package event

import (
	"slices"
	"strconv"
	"strings"

	"sallyport/sbc/header"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// referral tells what forbids a REFER, whomever it is for; 0: nothing. There is no call here that the gate could transfer in
// the place of who is asked: what may not pass is declined.
func referral(ev tu.Arrived) (code int) {
	if !passes(ev.Peer, ev.Peer.Referral) {
		return 603
	}
	// "A REFER request that contains no or more than one Refer-To header field value … MUST be rejected with a 400" (RFC 3515
	// §2.4.2).
	if _, err := header.ParseRefer(ev.Msg); err != nil {
		return 400
	}
	return 0
}

// passes reports whether a REFER of a peer's, or to it, passes outside of calls. A phone that is to dial can only be asked
// itself; a provider is asked, and asks, where it was said that it may.
func passes(p *tu.Peer, how tu.Transfer) bool {
	switch p.Kind {
	case tu.KindTrunk:
		return how == tu.TransferPass
	case tu.KindPhone:
		return how != tu.TransferReject
	default:
		return true
	}
}

// referable are the hops of a plan that take a REFER.
func referable(hops []tu.Hop) []tu.Hop {
	var out []tu.Hop
	for _, h := range hops {
		if passes(h.Peer, h.Peer.Transfer) {
			out = append(out, h)
		}
	}
	return out
}

// refer writes what a REFER has besides the fields of any request: whom it refers to, who does, and the dialog that gives the
// right to (RFC 4538). It reports false where the REFER would be another one without an id that is not known there.
func (s *Subscription) refer(m *message.Message) bool {
	near, far := s.legs[subscriber].hop.Peer, s.legs[notifier].hop.Peer
	tie := func(d header.DialogRef) (header.DialogRef, bool) { return header.Tie(s.set.Ties, near, far, d) }
	_, hosts := s.hosts(subscriber)
	for _, name := range [...]string{"Refer-To", "Referred-By", "Target-Dialog"} {
		m.Remove(name)
	}
	r, err := header.ParseRefer(s.req)
	if err != nil {
		return false
	}
	r.URI = hosts.Behind(r.URI)
	to, ok := r.Rehosted(hosts.RequestURI, tie)
	if !ok {
		return false
	}
	if r.Method != "INVITE" && message.ValidToken(r.Method) {
		to.URI.Params += ";method=" + r.Method
	}
	m.Add("Refer-To", to.String())
	if value, ok := s.req.Get("Referred-By"); ok {
		if now, ok := header.ReferredBy(value, hosts.From); ok {
			m.Add("Referred-By", now)
		}
	}
	if value, ok := s.req.Get("Target-Dialog"); ok {
		if d, err := header.ParseDialogRef("Target-Dialog", value); err == nil {
			if d, ok := tie(d); ok {
				m.Add("Target-Dialog", d.String())
			}
		}
	}
	return true
}

// says reports whether a value begins with a word.
func says(value, word string) bool {
	value, _, _ = strings.Cut(value, ";")
	return strings.EqualFold(strings.TrimSpace(value), word)
}

// unreported reports whether the answer to a REFER says that nothing will be told of it: "Refer-Sub: false" (RFC 4488 §4), or
// that this was required (nosub, RFC 7614 §4.2).
func (s *Subscription) unreported(m *message.Message) bool {
	if s.req.Method != "REFER" {
		return false
	}
	if v, _ := m.Get("Refer-Sub"); says(v, "false") {
		return true
	}
	return slices.Contains(slices.Collect(s.req.Tokens("Require")), "nosub")
}

// numbered puts the number of the other leg's REFER into the Event of a request to it: "the value of the "id" … is the sequence
// number … from the CSeq header field of the REFER" (RFC 3515 §2.4.6).
func (s *Subscription) numbered(from int, out *message.Message) {
	if s.kind != "refer" || s.sent == nil || s.req.Method != "REFER" {
		return
	}
	there, here := s.sent.CSeq, s.req.CSeq
	if from == subscriber {
		there, here = here, there
	}
	for i := range out.Headers {
		h := &out.Headers[i]
		if h.Name != "Event" {
			continue
		}
		name, params, _ := strings.Cut(h.Value, ";")
		for p := range strings.SplitSeq(params, ";") {
			k, v, ok := strings.Cut(p, "=")
			if ok && strings.EqualFold(strings.TrimSpace(k), "id") && strings.TrimSpace(v) == strconv.Itoa(int(there)) {
				h.Value = name + ";id=" + strconv.Itoa(int(here))
			}
		}
	}
}
