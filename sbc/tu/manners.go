package tu

import "slices"

// Manners are what a peer does not take of what the RFCs let one expect.
type Manners struct {
	// KeepsFlowing: it does not like to be told that it is held. A new offer of the other leg that concerns nothing else is answered
	// by the gate (RFC 3264 §8.4), and it hears nothing of it.
	KeepsFlowing bool
	// RingsBare: a provisional answer other than 183 must have no description.
	RingsBare bool
	// Lacks is what it is not told that it may use, and is not asked for.
	Lacks Lacks
}

// Lacks is a set of methods and option tags.
type Lacks uint8

// The elements.
const (
	LacksUpdate   Lacks = 1 << iota // the method UPDATE (RFC 3311)
	LacksReliable                   // the option tag 100rel, and the method PRACK (RFC 3262)
	LacksReplaces                   // the option tag replaces (RFC 3891)
	LacksInfo                       // the method INFO (RFC 6086)
)

var lacking = []string{"update", "100rel", "replaces", "info"}

// LacksOf reads the words of the configuration; those that are none are left out.
func LacksOf(words []string) (l Lacks) {
	for i, w := range lacking {
		if slices.Contains(words, w) {
			l |= 1 << i
		}
	}
	return l
}

// Method reports whether a method is in the set.
func (l Lacks) Method(name string) bool {
	switch name {
	case "UPDATE":
		return l&LacksUpdate != 0
	case "PRACK":
		return l&LacksReliable != 0
	case "INFO":
		return l&LacksInfo != 0
	}
	return false
}

// Option reports whether an option tag is in the set. Preconditions need reliable answers (RFC 3312 §11).
func (l Lacks) Option(tag string) bool {
	switch tag {
	case "100rel", "precondition":
		return l&LacksReliable != 0
	case "replaces":
		return l&LacksReplaces != 0
	}
	return false
}
