package policy

import (
	"net/netip"
	"strings"
	"time"

	"sallyport/nat"
)

// BanOf is the ban that refuses what a source sends to a listener, as far as its address, port and user say: an open
// connection, a call in progress. The user may be empty, or that of its address of record. Short blocks of unproven ports are
// no bans, and the white list spares.
func (g *Guard) BanOf(now time.Time, i *nat.Interface, source netip.AddrPort, user string) (Ban, bool) {
	if !g.state.bans.mayHold(source.Addr().Unmap().WithZone("")) {
		return Ban{}, false
	}
	var s Subject
	s.readSource(i, source)
	s.Request, s.Trial = true, true
	if user != "" {
		user, _, _ = strings.Cut(user, "@")
		s.From = []byte("<sip:" + user + "@user>")
	}
	s.Peer = g.directory().find(s.Side, s.Realm, s.Source.Addr())
	if g.rules.Load().exemptions(s.Realm, s.Source.Addr())&exemptBans != 0 {
		return Ban{}, false
	}
	ban, _ := g.state.bans.binding(now, &s)
	if ban == nil {
		return Ban{}, false
	}
	return ban.named(), true
}

// Unbanned are the prefixes that the white list spares from bans, at any listener.
func (r *Rules) Unbanned() []netip.Prefix { return r.exempted(exemptBans) }
