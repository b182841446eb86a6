package silence

import (
	"slices"
	"time"
)

// Request is one that has left for a node.
type Request struct {
	Method  string
	Attempt time.Duration // how long an attempt may be without a word; 0: nothing is owed
	// Known: who asks is so by the way that the request came, as a peer system is by its address, and a phone by the flow that it is
	// bound to. Anybody else may ask as often as he likes, and may know what the node does not answer.
	Known bool
}

// proof is what a request that stays without a word says of its node.
type proof uint8

const (
	own     proof = iota // the word was the node's to say: it counts
	distant              // its far end may be the silent one
	strange              // nobody known has asked: it may be what the node drops without a word
	proofs
)

func (r *Request) proof() proof {
	switch {
	case !r.Known:
		return strange
	case r.Method == "INVITE" || r.Method == "REGISTER":
		return own
	}
	return distant
}

const (
	// slowest is how long a request other than INVITE may wait for its first word: "an SIP element MUST respond to a non-INVITE
	// request with a Status-Code of 100 if it has not otherwise responded after … T2" (RFC 4320 §4.1: 3.5 s), and not sooner.
	slowest = 4 * time.Second
	// soonest is how long any request may wait for it before the probe is made to ask: T1. To an INVITE a server that has no other
	// answer within 200 ms says 100 (RFC 3261 §17.2.1).
	soonest = 500 * time.Millisecond
)

// patience is how long a request may wait for a word; 0: none is owed.
func (r *Request) patience() time.Duration {
	if r.Method == "INVITE" {
		return r.Attempt
	}
	return max(r.Attempt, slowest)
}

// owed is a word that a node owes.
type owed struct {
	at  time.Time // it has had long enough then
	ask time.Time // if the probe asks then, it is done with by that time
}

// node is a node and what it owes a word to.
type node struct {
	id     string
	sent   bool           // anything ever
	due    [proofs][]owed // for the requests since the last word, earliest first
	vague  int            // requests that waited in vain, and prove nothing by themselves
	doubt  time.Time      // when the last of those was found that count; zero: none since the probe was asked
	asked  time.Time      // when that made its probe ask; zero: no question is open
	vain   bool           // the one before it had no word either, or it was refused
	heard  time.Time      // when it has answered something
	spoke  time.Time      // when it has asked something itself
	failed bool           // something counted against it, and nothing for it since
	lost   bool           // it was found dead, and may have something waiting
}

// dueMost bounds the requests of a kind that are watched at a node; more than any node must miss to be down
// (pbx.health.failures). So strangers' keep nobody else's from being watched.
const dueMost = 128

// owe notes a request.
func (n *node) owe(now time.Time, r *Request) {
	n.sent = true
	wait, due := r.patience(), &n.due[r.proof()]
	if wait <= 0 || len(*due) >= dueMost {
		return
	}
	is, i := owed{at: now.Add(wait), ask: now.Add(max(wait-askedLong, soonest))}, len(*due)
	for i > 0 && (*due)[i-1].at.After(is.at) {
		i--
	}
	*due = slices.Insert(*due, i, is)
}

// acquit notes a word of the node: it answers for all that was sent before.
func (n *node) acquit(now time.Time) {
	for p := range n.due {
		n.due[p] = n.due[p][:0]
	}
	n.heard = now
	n.clear()
}

// clear forgets all suspicion.
func (n *node) clear() { n.vague, n.doubt, n.asked, n.vain = 0, time.Time{}, time.Time{}, false }

// overdue takes away what has waited long enough. It reports how much of that counts at once.
func (n *node) overdue(now time.Time) (count int) {
	for p := range n.due {
		over := 0
		for over < len(n.due[p]) && !n.due[p][over].at.After(now) {
			over++
		}
		if over == 0 {
			continue
		}
		n.due[p] = n.due[p][:copy(n.due[p], n.due[p][over:])]
		if proof(p) == own {
			n.doubt, count = now, over
		} else {
			n.wonder(over)
		}
	}
	return count
}

// wonder notes requests that were in vain, and prove nothing by themselves.
func (n *node) wonder(more int) { n.vague = min(n.vague+more, dueMost) }

// suspected reports whether the probe is to ask the node: something was in vain, or will prove nothing by itself and has waited so long
// that it is time to.
func (n *node) suspected(now time.Time) bool {
	for p := distant; p < proofs; p++ {
		for i := range n.due[p] {
			if !now.Before(n.due[p][i].ask) {
				return true
			}
		}
	}
	return !n.doubt.IsZero() || n.vague > 0
}

// strike takes a request away that did not arrive, what proves most first. some is false where nothing is owed.
func (n *node) strike() (p proof, some bool) {
	for p := range proofs {
		if due := n.due[p]; len(due) > 0 {
			n.due[p] = due[:copy(due, due[1:])]
			return p, true
		}
	}
	return 0, false
}

// quiet reports whether a node has said nothing of late.
func (n *node) quiet(now time.Time) bool {
	last := n.heard
	if n.spoke.After(last) {
		last = n.spoke
	}
	return now.Sub(last) >= quietLong
}
