package sbc

import (
	"net/netip"
	"slices"
	"time"

	"sallyport/nat"
	"sallyport/sbc/trunk"
	"sallyport/sbc/tu"
)

// quietness finds nodes of the PBX out that answer nothing at all, long before their probes do. A request that stays without any
// word counts against its node, unless the node has answered another one since; one that is merely slow answers something.
//
// That holds for an INVITE, which a proxy answers 100 by itself, and for a REGISTER, which ends there. Of anything else a node may
// have to say no more than its far end does, and phones choose that: such a request makes the node suspect, its probe asks it at
// once, and only where that stays without a word too does it count. A node without a probe is not suspected.
type quietness struct {
	of    *trunk.Book // that names is made of
	names map[door]string
	any   map[netip.AddrPort]string // by whatever transport, that of the first one in the configuration
	nodes map[door]*unheard
	busy  bool                 // with listening
	lost  map[string]bool      // that were found dead, and may have something waiting
	spoke map[string]time.Time // when they have asked something themselves
}

// door is where a node listens: each transport there has a health of its own.
type door struct {
	transport nat.Transport
	at        netip.AddrPort
}

func doorOf(f nat.Flow) door { return door{f.Transport, f.Remote} }

// unheard is a node and what it owes a word to.
type unheard struct {
	due    []owed    // for the requests since the last word, earliest first
	vague  int       // requests that waited in vain, and prove nothing by themselves
	doubt  bool      // one did that counts
	asked  time.Time // when that made its probe ask; zero: it has not
	heard  time.Time
	failed bool // something counted against it, and nothing for it since
}

// owed is a word that a node owes.
type owed struct {
	at    time.Time // it has had long enough then
	vague bool      // its far end may be the silent one
}

// askedLong is how long a suspect may take to answer its probe: two repeats (RFC 3261 §17.1.2.1: after T1 and 3·T1) are on their way
// by then.
const askedLong = 2 * time.Second

// dueMost bounds the requests that are watched at a node; more than any node must miss to be down (pbx.health.failures).
const dueMost = 128

// slowest is how long a request other than INVITE may wait for its first word: "an SIP element MUST respond to a non-INVITE
// request with a Status-Code of 100 if it has not otherwise responded after … T2" (RFC 4320 §4.1: 3.5 s), and not sooner.
const slowest = 4 * time.Second

// node is the name in health of the node at an address; "": none is there.
func (a *assembly) node(at netip.AddrPort) string {
	a.learnNodes()
	return a.silence.any[at]
}

// behind is that of the node behind a door. What leaves by a transport that the configuration does not have for it counts by another.
func (a *assembly) behind(d door) string {
	a.learnNodes()
	if id := a.silence.names[d]; id != "" {
		return id
	}
	return a.silence.any[d.at]
}

// learnNodes takes up which nodes there are.
func (a *assembly) learnNodes() {
	s := &a.silence
	if s.of == a.book {
		return
	}
	s.of, s.names, s.any, s.spoke = a.book, map[door]string{}, map[netip.AddrPort]string{}, nil
	for sys := range a.book.Nodes {
		for i := range sys.Hops {
			h := &sys.Hops[i]
			s.names[doorOf(h.Flow)] = h.ID
			if s.any[h.Flow.Remote] == "" {
				s.any[h.Flow.Remote] = h.ID
			}
		}
	}
	for d := range s.nodes {
		if s.any[d.at] == "" {
			delete(s.nodes, d)
		}
	}
}

// MayLeave reports whether a request may leave. A REGISTER may have to stay.
func (a *assembly) MayLeave(now time.Time, id tu.UserID, s *tu.Send) bool {
	if s.Hop.Peer.Kind != tu.KindNode {
		return true
	}
	a.listen(now)
	if s.Msg.Method != "REGISTER" {
		return true
	}
	node := a.behind(doorOf(s.Hop.Flow))
	return node == "" || a.mayRegister(now, id, node)
}

// Left hears that a request has left: what finds no place or no room does not, and nobody owes it a word.
func (a *assembly) Left(now time.Time, s *tu.Send) {
	d := doorOf(s.Hop.Flow)
	if s.Hop.Peer.Kind != tu.KindNode || s.Msg.Method == "OPTIONS" || a.behind(d) == "" { // of OPTIONS Book.Probed hears
		return
	}
	n := a.silence.nodes[d]
	if n == nil {
		n = &unheard{}
		if a.silence.nodes == nil {
			a.silence.nodes = map[door]*unheard{}
		}
		a.silence.nodes[d] = n
	}
	wait := s.Hop.Peer.AttemptTimeout
	if s.Msg.Method != "INVITE" {
		wait = max(wait, slowest)
	}
	if due := now.Add(wait); wait > 0 && len(n.due) < dueMost {
		i := len(n.due)
		for i > 0 && n.due[i-1].at.After(due) {
			i--
		}
		n.due = slices.Insert(n.due, i, owed{due, s.Msg.Method != "INVITE" && s.Msg.Method != "REGISTER"})
	}
}

// Heard hears a response. It acquits its node of all that was sent before.
func (a *assembly) Heard(now time.Time, from nat.Flow, code int) {
	if len(a.silence.nodes) == 0 {
		return
	}
	i := a.world.interfaces[from.Interface]
	if i == nil || i.Side != nat.Inside {
		return
	}
	d, n := a.speaks(from)
	if n == nil {
		return
	}
	n.due, n.heard, n.vague, n.doubt, n.asked = n.due[:0], now, 0, false, time.Time{}
	id := a.behind(d)
	if code == 503 || !n.failed && a.book.Lives(id) {
		return
	}
	n.failed = a.book.State(id) == trunk.Degraded
	if a.book.Attempt(id, true, now) {
		a.nodeChanged(now, id)
	}
}

// speaks finds the node that a response comes from: some answer from another port than they listen on.
func (a *assembly) speaks(from nat.Flow) (door, *unheard) {
	d := doorOf(from)
	if n := a.silence.nodes[d]; n != nil {
		return d, n
	}
	for d, n := range a.silence.nodes {
		if d.transport == from.Transport && d.at.Addr() == from.Remote.Addr() {
			return d, n
		}
	}
	return d, nil
}

// Unreached hears that what was sent somewhere did not arrive: an ICMP error, a connection that could not be made. That a node
// ends a connection on which nobody waits says nothing.
func (a *assembly) Unreached(now time.Time, to nat.Flow) {
	n := a.silence.nodes[doorOf(to)]
	if n == nil || len(n.due) == 0 {
		return
	}
	n.due = n.due[:copy(n.due, n.due[1:])]
	a.missed(now, doorOf(to), n)
}

// Silent reports whether nothing has been heard from a node's address since a moment.
func (a *assembly) Silent(at netip.AddrPort, since time.Time) bool {
	known := false
	for _, t := range [...]nat.Transport{nat.UDP, nat.TCP, nat.TLS} {
		if n := a.silence.nodes[door{t, at}]; n != nil {
			if known = true; n.heard.After(since) {
				return false
			}
		}
	}
	return known
}

// listen counts what is overdue. It is called whenever a request leaves for the PBX, and each second.
func (a *assembly) listen(now time.Time) {
	if a.silence.busy {
		return // what follows from it looks for ways, and listens
	}
	a.silence.busy = true
	defer func() { a.silence.busy = false }()
	for d, n := range a.silence.nodes {
		over, count := 0, 0
		for over < len(n.due) && !n.due[over].at.After(now) {
			if n.due[over].vague {
				n.vague++
			} else {
				count++
				n.doubt = true
			}
			over++
		}
		n.due = n.due[:copy(n.due, n.due[over:])]
		for range count + a.suspect(now, d, n) {
			a.missed(now, d, n)
		}
	}
	a.forsake(now)
}

// suspect has a node asked of which some requests have heard nothing. It reports how many of them count by now. What belongs to a
// dialog need not wait until so many have that the node is down: where the question, too, has no word, another node is asked.
func (a *assembly) suspect(now time.Time, d door, n *unheard) (count int) {
	p, probed := a.probes[a.behind(d)]
	switch {
	case n.vague == 0 && !n.doubt:
	case !probed:
		n.vague, n.doubt, n.asked = 0, false, time.Time{}
	case n.asked.IsZero():
		n.asked = now
		a.sbc.core.Tell(p.user, tu.Doubted{})
	case now.Sub(n.asked) >= askedLong:
		count, n.vague, n.doubt, n.asked = n.vague, 0, false, time.Time{}
		a.divert(now, a.behind(d))
	}
	return count
}

func (a *assembly) missed(now time.Time, d door, n *unheard) {
	n.failed = true
	if id := a.behind(d); id != "" && a.book.Attempt(id, false, now) {
		a.nodeChanged(now, id)
	}
}

// nodeChanged does what follows from a node's having another state. What waits for one that is down asks elsewhere at once,
// and has lost whatever word it had there (forsaken.go).
func (a *assembly) nodeChanged(now time.Time, id string) {
	a.since[id] = now
	a.tellState(id)
	if a.book.Lives(id) {
		return
	}
	a.lostNode(id)
	a.lose(id)
	for s := range a.book.Systems {
		if s.Kind != tu.KindNode || !slices.ContainsFunc(s.Hops, func(h trunk.Hop) bool { return a.book.Lives(h.ID) }) {
			continue
		}
		for i := range s.Hops {
			if s.Hops[i].ID == id {
				a.sbc.core.Abandon(now, s.Hops[i].Flow)
			}
		}
	}
	a.forsake(now)
}
