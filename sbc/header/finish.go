package header

import (
	"strings"

	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// Finish is the last hand on a message before it goes to a peer, when all else in it has been written: numbers, identity,
// privacy, the administrator's rules, answers under another code, in this order. in is the message of the other peer that it
// was made of; nil: it is our own, and what that peer's messages are subject to does not concern it. It keeps what belongs to
// the leg as it is: hops, ids, sequence numbers, tags, lengths, body; names only where a request opens a dialog or stands
// alone, for a dialog keeps the names it was opened with.
//
// Where a new name stands in From, the user of our Contact that had the old one has the new one, too.
//
// 100, ACK to a final answer that is no 2xx and CANCEL are made by the transactions and do not come here. What Finish wrote, the
// leak guard looks at.
func Finish(from, to *tu.Peer, in, out *message.Message) {
	unreferred(to, out)
	if to != nil && to.Manners.Lacks != 0 {
		unasked(to.Manners.Lacks, out)
	}
	var inbound, outbound *tu.Rules
	if from != nil && in != nil {
		inbound = from.Rules
	}
	if to != nil {
		outbound = to.Rules
	}
	hide := in != nil && !trusted(to) && private(out)
	if inbound != nil || outbound != nil || hide {
		finishing(inbound, outbound, hide, in, out)
	}
}

// unreferred takes REFER out of what a peer is told that may be asked of us, where it may not ask for it.
func unreferred(to *tu.Peer, out *message.Message) {
	if to == nil || to.Kind == tu.KindNode || to.Referral != tu.TransferReject {
		return
	}
	for i := range out.Headers {
		if h := &out.Headers[i]; h.Name == "Allow" && strings.Contains(h.Value, "REFER") {
			h.Value, _ = filter(h.Value, func(m string) bool { return m != "REFER" })
		}
	}
}

// unasked takes methods and option tags out of what a peer is told that it may use, where it had better not. What a message requires
// stays: it is nothing without.
func unasked(lacks tu.Lacks, out *message.Message) {
	kept := out.Headers[:0]
	for _, h := range out.Headers {
		stays := true
		switch h.Name {
		case "Allow":
			h.Value, stays = filter(h.Value, func(m string) bool { return !lacks.Method(m) })
		case "Supported":
			h.Value, stays = filter(h.Value, func(tag string) bool { return !lacks.Option(strings.ToLower(tag)) })
		}
		if stays {
			kept = append(kept, h)
		}
	}
	out.Headers = kept
}

// none changes nothing.
var none tu.Rules

func finishing(inbound, outbound *tu.Rules, hide bool, in, out *message.Message) {
	if inbound == nil {
		inbound = &none
	}
	if outbound == nil {
		outbound = &none
	}
	f := finish{out: out, fresh: opens(out), before: signedIn(out)}
	user := out.From.URI.User
	f.numbers(inbound.NumbersIn)
	f.told(&inbound.Naming)
	f.numbers(outbound.NumbersOut)
	f.form(outbound.Form)
	if hide {
		f.hide()
	}
	if in != nil || f.fresh {
		f.tell(&outbound.Naming)
	}
	for i := range inbound.Inbound {
		f.apply(&inbound.Inbound[i])
	}
	for i := range outbound.Outbound {
		f.apply(&outbound.Outbound[i])
	}
	f.verify()
	f.rename(user)
	f.recode(inbound.CodesIn)
	f.recode(outbound.CodesOut)
}

// finish is one message under the last hand.
type finish struct {
	out    *message.Message
	fresh  bool   // a request that opens a dialog, or stands alone: its names may change
	before signed // what a signature may be over
}

// opens reports whether the names of a message may change. A REGISTER is about the names themselves.
func opens(m *message.Message) bool { return m.IsRequest() && m.To.Tag == "" && m.Method != "REGISTER" }

// trusted reports whether a peer is told what is to be kept private: RFC 3325 §3 calls it a member of the Trust Domain. A
// phone never is.
func trusted(to *tu.Peer) bool {
	switch {
	case to == nil:
		return false
	case to.Kind == tu.KindPhone:
		return false
	default:
		return to.Rules == nil || to.Rules.Naming.Privacy != tu.IdentityRemove
	}
}

// signed is what the signature of an Identity field may be over (RFC 8224 §4.1, RFC 8225 §5.2.1).
type signed struct{ from, to, asserted string }

func signedIn(m *message.Message) signed {
	s := signed{from: m.From.URI.User, to: m.To.URI.User}
	s.asserted, _ = m.Get("P-Asserted-Identity")
	return s
}

// verify takes a signature out that would not verify any more: "Identity and Date (STIR) pass … unless we rewrote what they
// sign".
func (f *finish) verify() {
	if signedIn(f.out) != f.before {
		f.out.Remove("Identity")
	}
}

// rename gives the Contact of a request the caller's new name: what stands there must not tell the old one.
func (f *finish) rename(old string) {
	now := f.out.From.URI.User
	if !f.fresh || now == old || old == "" {
		return
	}
	for i := range f.out.Headers {
		h := &f.out.Headers[i]
		if h.Name != "Contact" {
			continue
		}
		if n, err := message.ParseNameAddr(h.Value); err == nil && n.URI.User == old {
			n.URI.User = now
			h.Value = n.String()
		}
	}
}

// recode answers under another code. Codes that say what to do, and not only that it did not work, stay (see MayRecode).
func (f *finish) recode(codes []tu.Code) {
	m := f.out
	for _, c := range codes {
		if m.IsRequest() || m.Status != c.From || !MayRecode(c.From) || !MayBecome(c.To) {
			continue
		}
		m.Status, m.Reason = c.To, message.Phrase(c.To)
		if c.From/100 == 3 {
			m.Remove("Contact") // it would be no place to go to, but who refuses
		}
		return
	}
}

// MayRecode reports whether a final answer may go out under another code: neither a success nor one that a transaction or a
// dialog lives by, such as a challenge (401), a time that is too short (422) or glare (491).
func MayRecode(code int) bool {
	switch code {
	case 401, 407, 412, 417, 420, 421, 422, 423, 428, 429, 439, 440, 469, 481, 482, 483, 487, 489, 491, 494:
		return false
	}
	return code >= 300 && code <= 699
}

// MayBecome reports whether an answer may go out under a code in the place of its own: a refusal that needs no fields of its
// own (405 has Allow, 3xx a Contact) and ends no dialog that goes on elsewhere (408, RFC 5057 §5.1).
func MayBecome(code int) bool {
	switch code {
	case 405, 408, 413, 415, 416, 424, 425, 470:
		return false
	}
	return code >= 400 && MayRecode(code)
}
