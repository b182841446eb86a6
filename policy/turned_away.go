package policy

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"sallyport/nat"
)

// TurnedAway is a source that called at outside/trunks lately, where it is no trunk's, and was refused for that.
type TurnedAway struct {
	Source netip.Addr // of IPv6 the /64 that evidence is kept of
	At     time.Time  // of its last call
	Host   string     // of its From, in lower case, without port or brackets; "": there was none. Anybody can write it
	Cut    bool       // more followed than a record keeps
}

// TurnedAway are the sources whose last call at outside/trunks was refused since a moment because no trunk has their address, newest
// first. Providers move: it is for those who wonder where the calls of one have gone. It changes nothing.
func (g *Guard) TurnedAway(since time.Time) []TurnedAway {
	var out []TurnedAway
	e, peers := &g.state.evidence, g.directory()
	for _, t := range []*dossierTable{&e.strangers, &e.known} {
		for n := range t.sets {
			out = t.turnedAway(n, since.Sub(g.state.base), g.state.base, out)
		}
	}
	out = slices.DeleteFunc(out, func(x TurnedAway) bool { return peers.find(nat.Outside, nat.Trunks, x.Source) != nil })
	slices.SortStableFunc(out, func(a, b TurnedAway) int { return b.At.Compare(a.At) })
	return out
}

// turnedAway adds those of one set.
func (t *dossierTable) turnedAway(n int, since time.Duration, base time.Time, out []TurnedAway) []TurnedAway {
	s := &t.sets[n]
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.dossiers {
		d := &s.dossiers[i]
		if s.tags[i] == 0 || !d.taken || d.reasons[causeTrunk] == 0 || d.last < since {
			continue
		}
		if r := d.lastUnknown(t.recordsOf(n, i)); r != nil && r.at >= since {
			host, cut := r.fromHost()
			out = append(out, TurnedAway{Source: netip.AddrFrom16(d.source).Unmap(), At: base.Add(r.at), Host: host, Cut: cut})
		}
	}
	return out
}

// lastUnknown is the latest call on record that was refused as nobody's trunk; nil: there is none.
func (d *dossier) lastUnknown(records []record) (latest *record) {
	bad := records[len(records)/4:][:d.bad.len]
	for i := range bad {
		r := &bad[i]
		if r.cause == causeTrunk && r.method == MethodInvite && !r.response && !r.malformed && r.side == nat.Outside && r.realm == nat.Trunks &&
			(latest == nil || r.seq > latest.seq) {
			latest = r
		}
	}
	return latest
}

// fromHost is the host of a record's From, and whether the end of it may be missing.
func (r *record) fromHost() (host string, cut bool) {
	text := printable(r.user[:r.userLen])
	_, host, whole := strings.Cut(text, "@")
	if !whole {
		host = text // a From without a user
	}
	cut = int(r.userLen) == maxUser
	if v6, rest, ok := strings.Cut(strings.TrimPrefix(host, "["), "]"); ok && strings.HasPrefix(host, "[") {
		host, cut = v6, cut && rest == ""
	} else if name, _, port := strings.Cut(host, ":"); port {
		host, cut = name, false
	}
	return strings.ToLower(strings.TrimSuffix(host, ".")), cut
}
