package sbc

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"sallyport/policy"
	"sallyport/sbc/api"
	"sallyport/sbc/tu"
	"sallyport/sbc/userpart"
)

// Whoever asks why has what he was told at hand: a number that was dialled, the extension of a phone, the name of a trunk, an address
// with its port out of a list. Each of them is answered here, after what is exact: addresses, ids of calls, phones.

// addressOf reads an address, with a port or without.
func addressOf(subject string) (netip.Addr, bool) {
	if a, err := netip.ParseAddr(subject); err == nil {
		return a, true
	}
	p, err := netip.ParseAddrPort(subject)
	return p.Addr(), err == nil
}

// whyNumber tells of the calls in which a number was dialled, or called: one line each, and the latest that has ended in full.
func (c control) whyNumber(ctx context.Context, subject string) (out api.Why, ok bool, err error) {
	live, err := c.Calls(ctx)
	if err != nil {
		return out, false, err
	}
	rows, detail := "", []any{}
	for i := range live {
		if x := &live[i]; sameNumber(subject, x.From) || sameNumber(subject, x.To) {
			rows += fmt.Sprintf("call    %s %s %s → %s: in progress\n", x.Start.Local().Format(time.DateTime), x.ID, api.Printable(x.From), api.Printable(x.To))
			detail = append(detail, x)
		}
	}
	ended := c.recent.calls(func(r *tu.CDR) bool {
		return slices.ContainsFunc([]string{r.From, r.To, r.FromSent, r.ToSent}, func(n string) bool { return sameNumber(subject, n) })
	})
	return c.tellCalls(subject, rows, detail, ended)
}

// whyTrunk tells how a trunk stands, and of its last calls.
func (c control) whyTrunk(ctx context.Context, subject string) (out api.Why, ok bool, err error) {
	trunks, err := c.Trunks(ctx)
	if err != nil {
		return out, false, err
	}
	i := slices.IndexFunc(trunks, func(t api.Trunk) bool { return t.Name == subject })
	if i < 0 {
		return out, false, nil
	}
	t := &trunks[i]
	text, detail := api.TrunksText(trunks[i:i+1], time.Local), []any{t}
	ended := c.recent.calls(func(r *tu.CDR) bool { return r.Trunk == subject })
	out, _, err = c.tellCalls(subject, text, detail, ended)
	out.Allowed = t.State != "down" && (t.Registration == nil || t.Registration.State == "registered")
	if len(ended) == 0 {
		out.Text += "calls   none of it has ended since " + c.since.Local().Format(time.DateTime) + "\n"
	}
	return out, true, err
}

// tellCalls puts calls that have ended below what stands there already: a line each, and the latest in full.
func (c control) tellCalls(subject, text string, detail []any, ended []tu.CDR) (out api.Why, ok bool, err error) {
	if len(detail) == 0 && len(ended) == 0 {
		return out, false, nil
	}
	out = api.Why{Subject: subject, Allowed: true}
	for i := range ended {
		text += "call    " + callLine(&ended[i]) + "\n"
		detail = append(detail, &ended[i])
	}
	if len(ended) > 0 {
		for i := range ended {
			if i == 0 || together(&ended[i], &ended[0]) {
				text += "\n" + c.told(&ended[i])
			}
		}
		out.Allowed = ended[0].Code < 300
	}
	out.Text = text
	out.Detail, err = json.Marshal(detail)
	return out, true, err
}

// apartMost is how long a PBX may take to pass a call on.
const apartMost = 2 * time.Second

// together reports whether two calls are the two sides of one at the PBX, a phone's and the provider's: what was wrong may be known of one
// of them alone. Where the PBX relays media itself nothing but their times joins them.
func together(a, b *tu.CDR) bool {
	if cmp.Or(a.Correlation, a.Call) == cmp.Or(b.Correlation, b.Call) {
		return true
	}
	return a.Direction != b.Direction && a.Start.Sub(b.Start).Abs() <= apartMost && !a.Start.After(b.End) && !b.Start.After(a.End)
}

// told is a call that has ended, in full, with what to do where something was wrong with it.
func (c control) told(r *tu.CDR) string { return recordText(r) + c.nowhere(r) + fixesOf(r) }

// callLine is a call that has ended in one line.
func callLine(r *tu.CDR) string {
	text := fmt.Sprintf("%s %s %s → %s", r.Start.Local().Format(time.DateTime), r.Call, api.Printable(r.From), api.Printable(r.To))
	if r.Trunk != "" {
		text += " by trunk " + r.Trunk
	}
	text += fmt.Sprintf(": %d", r.Code)
	if r.Reason != "" {
		text += " " + string(r.Reason)
	}
	if r.Duration > 0 {
		text += fmt.Sprintf(", talked %.0f s", r.Duration)
	}
	if silent := silentSides(r); silent != "" {
		text += ", " + silent
	}
	return text
}

// silentSides says on which side of a call nothing was heard; "": both were.
func silentSides(r *tu.CDR) string {
	if r.Duration < audible || len(r.Media) == 0 {
		return ""
	}
	outside, inside := true, true // of streams that were declined nothing is heard anyway
	for i := range r.Media {
		m := &r.Media[i]
		outside, inside = outside && m.Outside.Packets == 0, inside && m.Inside.Packets == 0
	}
	switch {
	case outside && inside:
		return "nothing heard from either side"
	case outside:
		return "nothing heard from outside"
	case inside:
		return "nothing heard from the PBX"
	}
	return ""
}

// callsTold bounds the calls that an answer has.
const callsTold = 10

// calls are the last calls that have something, newest first.
func (r *recent) calls(has func(*tu.CDR) bool) (out []tu.CDR) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range recentCalls {
		x := &r.ring[(r.next-1-i+2*recentCalls)%recentCalls]
		if x.Call != "" && has(x) {
			if out = append(out, *x); len(out) == callsTold {
				break
			}
		}
	}
	return out
}

// digitsTold is from how many digits on the ends of two numbers are enough to be the same: one has a prefix that the other has not.
const digitsTold = 6

// sameNumber reports whether somebody who asks for a number means this one: a user as it is written, or digits however they are
// grouped, with the country or without.
func sameNumber(asked, has string) bool {
	if asked == "" || has == "" {
		return false
	}
	if userpart.Same(asked, has) {
		return true
	}
	a, b := digitsOf(userpart.Plain(userpart.Bare(asked))), digitsOf(userpart.Plain(userpart.Bare(has)))
	if a == "" || b == "" {
		return false
	}
	short, long := a, b
	if len(short) > len(long) {
		short, long = long, short
	}
	return a == b || len(short) >= digitsTold && strings.HasSuffix(long, short)
}

// digitsOf are the digits of a number without what stands before the country or the area; "": it is none.
func digitsOf(number string) string {
	out := strings.Map(func(r rune) rune {
		switch {
		case r >= '0' && r <= '9':
			return r
		case strings.ContainsRune("+-.() /", r):
			return -1
		}
		return 'x'
	}, number)
	if strings.Contains(out, "x") {
		return ""
	}
	return strings.TrimLeft(out, "0")
}

// fixesOf says what to do about a call that has ended: where audio was missing, and where its way is explained.
func fixesOf(r *tu.CDR) (text string) {
	for _, fix := range silentFixes(r) {
		text += "fix     " + fix + "\n"
	}
	if r.Direction == "outbound" && r.Trunk != "" && r.AoR == "" {
		text += "route   sbc route test " + api.Printable(r.To) + " says why it goes there, by the rules in force now\n"
	}
	return text
}

// audible is from how many seconds of talk on silence means something.
const audible = 1

// silentFixes say what keeps the audio of a call away; none: it was heard from both sides.
func silentFixes(r *tu.CDR) (out []string) {
	if r.Duration < audible {
		return nil
	}
	for i := range r.Media {
		m := &r.Media[i]
		if m.Outside.Packets > 0 && m.Inside.Packets > 0 {
			continue
		}
		switch {
		case m.Outside.Packets > 0:
		case m.Outside.Rejections["source"] > 0 && r.Trunk != "":
			out = append(out, "the provider's audio comes from another address than its SDP says: sbc capture "+outsideOf(r)+" shows from where; add that to "+
				"trunks[].media_sources of "+r.Trunk)
		case m.Outside.Rejections["source"] > 0:
			out = append(out, "the phone's audio comes from another address than its SIP: a second line to the Internet, a VPN, STUN or a SIP ALG; "+
				"sbc capture "+r.AoR+" shows from where; phones.latching: delayed takes it after a while")
		case m.Outside.Rejected > 0:
			out = append(out, "what came from outside was refused ("+api.Rejections(&m.Outside)+"): sbc capture shows it")
		default:
			out = append(out, "nothing at all came from outside: are media.ports open for UDP in the firewall before the gate, and is outside.address "+
				"(external_address) what the peer can reach? It may be on hold, or muted")
		}
		switch {
		case m.Inside.Packets > 0:
		case m.Inside.Rejected > 0:
			out = append(out, "what came from the PBX was refused ("+api.Rejections(&m.Inside)+"): does its audio come from another address than its SDP says?")
		default:
			out = append(out, "nothing at all came from the PBX: can it reach inside.address at media.ports, or is the call on hold or muted there?")
		}
	}
	return out
}

// attempts counts hops.
func attempts(n int) string {
	if n == 1 {
		return "1 attempt"
	}
	return itoa(n) + " attempts"
}

// outsideOf is the address of a call's leg outside, for people to copy; "ADDRESS": there was none.
func outsideOf(r *tu.CDR) string {
	at := r.Source
	if r.Direction == "outbound" {
		at = r.Destination
	}
	if a, err := netip.ParseAddrPort(at); err == nil {
		return a.Addr().String()
	}
	return "ADDRESS"
}

// seenText tells of the sources that spoke for a user and came no further, or elsewhere.
func seenText(s *policy.Sender) string {
	at := netip.AddrPortFrom(s.Source, s.Port).String()
	text := fmt.Sprintf("%s: %s of %s at %s, %s", at, s.Method, s.User, s.At.Local().Format(time.TimeOnly), s.Action)
	if s.Refused() {
		text += ", " + string(s.Reason)
	}
	return text
}
