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

// node is a node and what it owes a word to.
type node struct {
	id     string
	sent   bool      // anything ever
	due    []owed    // for the requests since the last word, earliest first
	vague  int       // requests that waited in vain, and prove nothing by themselves
	doubt  bool      // one did that counts
	asked  time.Time // when that made its probe ask; zero: it has not
	heard  time.Time // when it has answered something
	spoke  time.Time // when it has asked something itself
	failed bool      // something counted against it, and nothing for it since
	lost   bool      // it was found dead, and may have something waiting
}

// owed is a word that a node owes.
type owed struct {
	at    time.Time // it has had long enough then
	vague bool      // its far end may be the silent one
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
	// slowest is how long a request other than INVITE may wait for its first word: "an SIP element MUST respond to a non-INVITE
	// request with a Status-Code of 100 if it has not otherwise responded after … T2" (RFC 4320 §4.1: 3.5 s), and not sooner.
	slowest = 4 * time.Second
	// dueMost bounds the requests that are watched at a node; more than any node must miss to be down (pbx.health.failures).
	dueMost = 128
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

// Left notes that a request has left, and how long an attempt may be without a word (0: nothing is owed). Of OPTIONS a probe hears.
func (w *Watch) Left(now time.Time, realm nat.Realm, to nat.Flow, method string, attempt time.Duration) {
	h := w.To(realm, to)
	if h == nil || method == "OPTIONS" {
		return
	}
	n, vague := w.nodes[h.ID], false
	if method != "INVITE" {
		attempt, vague = max(attempt, slowest), method != "REGISTER"
	}
	n.sent = true
	if attempt <= 0 || len(n.due) >= dueMost {
		return
	}
	due, i := now.Add(attempt), len(n.due)
	for i > 0 && n.due[i-1].at.After(due) {
		i--
	}
	n.due = slices.Insert(n.due, i, owed{due, vague})
}

// Heard notes a response. It acquits its node of all that was sent before; where it may be that of several nodes, each of them.
func (w *Watch) Heard(now time.Time, realm nat.Realm, from nat.Flow, code int) {
	w.each(realm, from, func(h *trunk.Hop) {
		n := w.nodes[h.ID]
		if !n.sent {
			return
		}
		n.due, n.heard, n.vague, n.doubt, n.asked = n.due[:0], now, 0, false, time.Time{}
		if code == 503 || !n.failed && w.book.Lives(n.id) { // it lives; whether it is of use, calls tell (trunk.Book.Refused)
			return
		}
		n.failed = w.book.State(n.id) == trunk.Degraded
		if w.book.Attempt(n.id, true, now) {
			w.Note(n.id)
		}
	})
}

// Spoke notes a request that is a node's own. It acquits of nothing, and says that the node lives; of several each may have sent it.
func (w *Watch) Spoke(now time.Time, realm nat.Realm, from nat.Flow) {
	w.each(realm, from, func(h *trunk.Hop) { w.nodes[h.ID].spoke = now })
}

// Unreached notes that what was sent somewhere did not arrive. Where nothing is owed that says nothing: a node may end a connection.
func (w *Watch) Unreached(now time.Time, realm nat.Realm, to nat.Flow) {
	h := w.To(realm, to)
	if h == nil {
		return
	}
	if n := w.nodes[h.ID]; len(n.due) > 0 {
		n.due = n.due[:copy(n.due, n.due[1:])]
		w.missed(now, n)
	}
}

// Count counts what is overdue by now. Nodes that are probed may be asked first.
func (w *Watch) Count(now time.Time, probed func(id string) bool) {
	for _, n := range w.order {
		count := n.overdue(now)
		if n.vague > 0 || n.doubt {
			count += w.suspect(now, n, probed(n.id))
		}
		for range count {
			w.missed(now, n)
		}
	}
}

// overdue takes away what has waited long enough. It reports how much of that counts at once.
func (n *node) overdue(now time.Time) (count int) {
	over := 0
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
	return count
}

// suspect has a node asked of which some requests have heard nothing. It reports how many of them count by now. What belongs to a
// dialog need not wait until so many have that the node is down: where the question, too, has no word, another node is asked.
func (w *Watch) suspect(now time.Time, n *node, probed bool) (count int) {
	switch {
	case !probed:
		n.vague, n.doubt, n.asked = 0, false, time.Time{}
	case n.asked.IsZero():
		n.asked = now
		w.find(Finding{What: Doubted, ID: n.id})
	case now.Sub(n.asked) >= askedLong:
		count, n.vague, n.doubt, n.asked = n.vague, 0, false, time.Time{}
		w.find(Finding{What: AskedInVain, ID: n.id, Since: now.Add(-askedLong)})
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
		case n.quiet(now) && n.asked.IsZero():
			n.lost = false
			ids = append(ids, n.id)
		}
	}
	return ids
}

// quiet reports whether a node has said nothing of late.
func (n *node) quiet(now time.Time) bool {
	last := n.heard
	if n.spoke.After(last) {
		last = n.spoke
	}
	return now.Sub(last) >= quietLong
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
