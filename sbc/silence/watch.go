package silence

import (
	"net/netip"
	"slices"
	"time"

	"sallyport/nat"
	"sallyport/sbc/trunk"
)

// Watch is what is known of the nodes of a book. The zero value knows none: Learn first.
type Watch struct {
	Doors // of the nodes

	book  *trunk.Book
	nodes map[string]*node // by name in health
	order []*node          // as the configuration has them
	found []Finding        // that nobody has followed yet
}

// Finding is something that has come out of a node, by its name in health.
type Finding struct {
	What  Kind
	ID    string
	Since time.Time // AskedInVain: what left before it, and waits, has waited long enough
}

// Kind is what a finding says.
type Kind uint8

// The kinds.
const (
	Changed     Kind = iota // the node has another state in the book
	Doubted                 // its probe is to ask it now
	AskedInVain             // the probe has, and had no word
)

const (
	// askedLong is how long a suspect may take to answer its probe: two repeats (RFC 3261 §17.1.2.1: after T1 and 3·T1) are on
	// their way by then.
	askedLong = 2 * time.Second
	// quietLong is how long a node that is called dead must have said nothing at all before what waits there is given up: one that leaves
	// OPTIONS without an answer may be well otherwise.
	quietLong = 2 * time.Second
)

// Learn takes up which nodes there are, if the book is another one. What is known of those that stay is kept.
func (w *Watch) Learn(b *trunk.Book) {
	if w.book == b {
		return
	}
	was := w.nodes
	w.book, w.Doors, w.nodes, w.order = b, newDoors(b), map[string]*node{}, nil
	for s := range b.Nodes {
		for i := range s.Hops {
			id := s.Hops[i].ID
			if w.nodes[id] != nil { // by the other realm
				continue
			}
			n := was[id]
			if n == nil {
				n = &node{id: id}
			}
			w.nodes[id] = n
			w.order = append(w.order, n)
		}
	}
	w.found = slices.DeleteFunc(w.found, func(f Finding) bool { return w.nodes[f.ID] == nil })
}

// Left notes that a request has left. Of OPTIONS a probe hears.
func (w *Watch) Left(now time.Time, realm nat.Realm, to nat.Flow, r Request) {
	if h := w.To(realm, to); h != nil && r.Method != "OPTIONS" {
		w.nodes[h.ID].owe(now, &r)
	}
}

// Heard notes a response. It acquits its node of all that was sent before; where it may be that of several nodes, each of them.
func (w *Watch) Heard(now time.Time, realm nat.Realm, from nat.Flow, method string, code int) {
	w.each(realm, from, func(h *trunk.Hop) {
		n := w.nodes[h.ID]
		if !n.sent {
			return
		}
		n.acquit(now)
		switch {
		case !n.failed && w.book.Lives(n.id):
		case code < 200 || code == 503 || told(method):
			w.book.Alive(n.id)
		default:
			n.failed = w.book.State(n.id) == trunk.Degraded
			if w.book.Attempt(n.id, true, now) {
				w.Note(n.id)
			}
		}
	})
}

// told reports whether others tell the book of the answers to a method: each answer is one success, whoever hears of it. Of OPTIONS it
// is the probe (trunk.Book.Probed), of calls who has their places, and tells whether the node has any use for them
// (trunk.Book.Refused).
func told(method string) bool { return method == "OPTIONS" || method == "INVITE" }

// Spoke notes a request that is a node's own. It acquits of nothing, and says that the node lives; of several each may have sent it.
func (w *Watch) Spoke(now time.Time, realm nat.Realm, from nat.Flow) {
	w.each(realm, from, func(h *trunk.Hop) { w.nodes[h.ID].spoke = now })
}

// Unreached notes that what was sent somewhere did not arrive. Where nothing is owed that says nothing: a node may end a connection.
// It may do so for something that it cannot read, too, and take with it what others wait for. One that could not be made nobody's
// request has ended.
func (w *Watch) Unreached(now time.Time, realm nat.Realm, to nat.Flow) {
	h := w.To(realm, to)
	if h == nil {
		return
	}
	n := w.nodes[h.ID]
	switch p, some := n.strike(); {
	case !some:
	case to.Conn != 0, p == strange && !to.Transport.Reliable(): // a firewall may refuse a datagram for what is in it
		n.wonder(1)
	default:
		w.missed(now, n)
	}
}

// Vain notes that a node's probe was refused, too: what it was asked for need not wait for its answer.
func (w *Watch) Vain(id string) {
	if n := w.nodes[id]; n != nil && !n.asked.IsZero() {
		n.vain = true
	}
}

// Count counts what is overdue by now. Nodes that are probed may be asked first.
func (w *Watch) Count(now time.Time, probed func(id string) bool) {
	for _, n := range w.order {
		count := n.overdue(now)
		count += w.suspect(now, n, probed)
		for range count {
			w.missed(now, n)
		}
	}
}

// suspect has a node asked of which some requests have heard nothing. It reports how many of them count by now. What belongs to a
// dialog need not wait until so many have that the node is down: where the question, too, has no word, another node is asked.
//
// As long as there are such requests one question follows the other, until there is a word: what is overdue meanwhile counts at
// once. A node that does not answer its probe at other times, either, is not convicted by that.
func (w *Watch) suspect(now time.Time, n *node, probed func(id string) bool) (count int) {
	if !n.suspected(now) && n.asked.IsZero() || !probed(n.id) {
		n.clear()
		return 0
	}
	if !n.asked.IsZero() && now.Sub(n.asked) >= askedLong {
		if !n.doubt.After(n.asked) { // what was found later has a question of its own
			n.doubt = time.Time{}
		}
		n.asked, n.vain = time.Time{}, true
		w.find(Finding{What: AskedInVain, ID: n.id, Since: now.Add(-askedLong)})
	}
	if n.vain {
		if w.book.Asked(n.id) == trunk.Up {
			count = n.vague
		}
		n.vague = 0
	}
	switch {
	case !n.asked.IsZero():
	case n.suspected(now):
		n.asked = now
		w.find(Finding{What: Doubted, ID: n.id})
	default:
		n.vain = false
	}
	return count
}

func (w *Watch) missed(now time.Time, n *node) {
	n.failed = true
	if w.book.Attempt(n.id, false, now) {
		w.Note(n.id)
	}
}

// Note notes that a node has another state in the book.
func (w *Watch) Note(id string) {
	n := w.nodes[id]
	if n == nil {
		return
	}
	n.lost = !w.book.Lives(id)
	w.find(Finding{What: Changed, ID: id})
}

// find notes a finding, once until somebody follows it.
func (w *Watch) find(f Finding) {
	if !slices.ContainsFunc(w.found, func(g Finding) bool { return g.What == f.What && g.ID == f.ID }) {
		w.found = append(w.found, f)
	}
}

// Next takes a finding away, the earliest first; some is false when there is none. New ones may come while it is followed.
func (w *Watch) Next() (f Finding, some bool) {
	if len(w.found) == 0 {
		return f, false
	}
	f = w.found[0]
	w.found = slices.Delete(w.found, 0, 1)
	return f, true
}

// Gone takes away, in the order of the configuration, the nodes that were found dead and whose last word is long ago: what they hold
// is lost. One that lives again is dead no more, and keeps it; one that is being asked has until then to say a word: strangers choose
// what it is sent, and may know what it does not answer.
func (w *Watch) Gone(now time.Time) (ids []string) {
	for _, n := range w.order {
		switch {
		case !n.lost:
		case w.book.Lives(n.id):
			n.lost = false
		case n.quiet(now) && (n.asked.IsZero() || n.vain):
			n.lost = false
			ids = append(ids, n.id)
		}
	}
	return ids
}

// Ever reports whether a node has ever said anything: an answer to what it was sent, or a request of its own.
func (w *Watch) Ever(id string) bool {
	n := w.nodes[id]
	return n != nil && !(n.heard.IsZero() && n.spoke.IsZero())
}

// Silent reports whether something was sent to a node that may be at an address, and none of those has answered since a moment.
func (w *Watch) Silent(at netip.AddrPort, since time.Time) bool {
	known, silent := false, true
	for _, realm := range [...]nat.Realm{nat.Phones, nat.Trunks} {
		for _, t := range [...]nat.Transport{nat.UDP, nat.TCP, nat.TLS} {
			w.each(realm, nat.Flow{Transport: t, Remote: at}, func(h *trunk.Hop) {
				n := w.nodes[h.ID]
				known, silent = known || n.sent, silent && !n.heard.After(since)
			})
		}
	}
	return known && silent
}
