package sbc

import (
	"strings"

	"sallyport/sbc/tu"
	"sallyport/sbc/userpart"
)

// dialled puts the number that was dialled in the place of the user of our registration's Contact. "The registered contact address …
// replaces the Request-URI", so that it no longer tells who was called (RFC 7315 §4.2, RFC 3261 §16.5): P-Called-Party-ID does where
// the provider writes it, else To, as a provider's gateway fills it.
//
// Both may be the word of whoever calls. So neither makes an emergency call of it, which passes bounds that hold for every other
// one, and it counts only where it is one of the trunk's numbers, if those are known: else the user of the Contact is called.
func (a *assembly) dialled(ev *tu.Arrived) {
	p, m := ev.Peer, ev.Msg
	if p == nil || p.Kind != tu.KindTrunk || p.ContactUser == "" || !userpart.Same(m.URI.User, p.ContactUser) || m.Method != "INVITE" && m.Method != "MESSAGE" {
		return
	}
	number := m.To.URI.User
	if list, err := m.NameAddrs("P-Called-Party-ID"); err == nil && len(list) > 0 && list[0].URI.User != "" {
		number = list[0].URI.User
	}
	number, _, _ = strings.Cut(number, ";") // parameters of a number (RFC 3966)
	again := *m                             // what was parsed is shared, and never changed
	again.URI.User = number
	if number == "" || userpart.Same(number, p.ContactUser) || a.world.urgent(again.URI) || !a.book.Takes(p.Name, a.world.reads(again.URI)) {
		return
	}
	ev.Msg = &again
}
