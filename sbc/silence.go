package sbc

import (
	"net/netip"
	"slices"
	"time"

	"go.uber.org/zap"

	"sallyport/nat"
	"sallyport/sbc/trunk"
	"sallyport/sbc/tu"
)

// quietness finds nodes of the PBX out that answer nothing at all, long before their probes do. A request that stays without any
// word counts against its node, unless the node has answered another one since; one that is merely slow answers something.
type quietness struct {
	of    *trunk.Book // that names is made of
	names map[netip.AddrPort]string
	nodes map[netip.AddrPort]*unheard
}

// unheard is a node and what it owes a word to.
type unheard struct {
	due    []time.Time // when each request since the last word has waited long enough, earliest first
	heard  time.Time
	failed bool // something counted against it, and nothing for it since
}

// dueMost bounds the requests that are watched at a node; more than any node must miss to be down (pbx.health.failures).
const dueMost = 128

// slowest is how long a request other than INVITE may wait for its first word: "an SIP element MUST respond to a non-INVITE
// request with a Status-Code of 100 if it has not otherwise responded after … T2" (RFC 4320 §4.1: 3.5 s), and not sooner.
const slowest = 4 * time.Second

// node is the name in health of the node at an address; "": none is there.
func (a *assembly) node(at netip.AddrPort) string {
	s := &a.silence
	if s.of == a.book {
		return s.names[at]
	}
	s.of, s.names = a.book, map[netip.AddrPort]string{}
	for sys := range a.book.Systems {
		for i := range sys.Hops {
			if sys.Kind == tu.KindNode {
				s.names[sys.Hops[i].Flow.Remote] = sys.Hops[i].ID
			}
		}
	}
	for x := range s.nodes {
		if s.names[x] == "" {
			delete(s.nodes, x)
		}
	}
	return s.names[at]
}

// Leaves hears that a request is about to leave. A REGISTER may have to stay.
func (a *assembly) Leaves(now time.Time, id tu.UserID, s *tu.Send) bool {
	if s.Hop.Peer.Kind != tu.KindNode || s.Msg.Method == "OPTIONS" { // of which Book.Probed hears
		return true
	}
	a.listen(now)
	at := s.Hop.Flow.Remote
	node := a.node(at)
	switch {
	case node == "":
		return true
	case s.Msg.Method == "REGISTER" && !a.mayRegister(now, id, node):
		return false
	}
	n := a.silence.nodes[at]
	if n == nil {
		n = &unheard{}
		if a.silence.nodes == nil {
			a.silence.nodes = map[netip.AddrPort]*unheard{}
		}
		a.silence.nodes[at] = n
	}
	wait := s.Hop.Peer.AttemptTimeout
	if s.Msg.Method != "INVITE" {
		wait = max(wait, slowest)
	}
	if due := now.Add(wait); wait > 0 && len(n.due) < dueMost {
		i := len(n.due)
		for i > 0 && n.due[i-1].After(due) {
			i--
		}
		n.due = append(n.due, time.Time{})
		copy(n.due[i+1:], n.due[i:])
		n.due[i] = due
	}
	return true
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
	at, n := a.speaks(from.Remote)
	if n == nil {
		return
	}
	n.due, n.heard = n.due[:0], now
	id := a.node(at)
	if code == 503 || !n.failed && a.book.Lives(id) {
		return
	}
	n.failed = a.book.State(id) == trunk.Degraded
	if a.book.Attempt(id, true, now) {
		a.nodeChanged(now, id)
	}
}

// speaks finds the node that a response comes from: some answer from another port than they listen on.
func (a *assembly) speaks(from netip.AddrPort) (netip.AddrPort, *unheard) {
	if n := a.silence.nodes[from]; n != nil {
		return from, n
	}
	for at, n := range a.silence.nodes {
		if at.Addr() == from.Addr() {
			return at, n
		}
	}
	return from, nil
}

// Unreached hears that what was sent somewhere did not arrive: an ICMP error, a connection that could not be made. That a node
// ends a connection on which nobody waits says nothing.
func (a *assembly) Unreached(now time.Time, to nat.Flow) {
	n := a.silence.nodes[to.Remote]
	if n == nil || len(n.due) == 0 {
		return
	}
	n.due = n.due[:copy(n.due, n.due[1:])]
	a.missed(now, to.Remote, n)
}

// Silent reports whether nothing has been heard from a node's address since a moment.
func (a *assembly) Silent(at netip.AddrPort, since time.Time) bool {
	n := a.silence.nodes[at]
	return n != nil && !n.heard.After(since)
}

// listen counts what is overdue. It is called whenever a request leaves for the PBX, and each second.
func (a *assembly) listen(now time.Time) {
	for at, n := range a.silence.nodes {
		over := 0
		for over < len(n.due) && !n.due[over].After(now) {
			over++
		}
		n.due = n.due[:copy(n.due, n.due[over:])]
		for range over {
			a.missed(now, at, n)
		}
	}
}

func (a *assembly) missed(now time.Time, at netip.AddrPort, n *unheard) {
	n.failed = true
	if id := a.node(at); id != "" && a.book.Attempt(id, false, now) {
		a.nodeChanged(now, id)
	}
}

// nodeChanged does what follows from a node's having another state. What waits for one that is down asks elsewhere at once.
func (a *assembly) nodeChanged(now time.Time, id string) {
	a.since[id] = now
	a.sbc.log.Info("peer is "+a.book.State(id).String(), zap.String("node", id), zap.String("why", a.book.Health(id).Why))
	if a.book.Lives(id) {
		return
	}
	a.lostNode(id)
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
}
