package policy

import (
	"bytes"
	"math"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// agentMode is how a user-agent rule compares.
type agentMode uint8

const (
	agentContains agentMode = iota // anywhere in the value
	agentExact                     // the whole value
	agentProduct                   // the whole value, or its beginning up to '/', white space or the end
	agentPrefix                    // the beginning of the value
	agentRegex                     // RE2 against the whole value
	agentAbsent                    // no such field, or an empty one; message rules only
)

// patternModeNames are the modes of message rules, agentModeNames those of user-agent rules.
var (
	patternModeNames = [...]string{"contains", "exact", "product", "prefix", "regex", "absent"}
	agentModeNames   = patternModeNames[:agentAbsent]
)

// String is the mode's name in the configuration.
func (m agentMode) String() string { return patternModeNames[m] }

// compilePattern reads a pattern that has been validated.
func compilePattern(match, mode string) agentPattern {
	p := agentPattern{mode: agentMode(max(0, slices.Index(patternModeNames[:], mode))), text: foldASCII(strings.TrimSpace(match))}
	if p.mode == agentRegex {
		p.re, _ = compileAgentRegexp(match)
	}
	return p
}

// maxRegexInput is how much of a value regular expressions see. It bounds their cost; honest names are far shorter.
const maxRegexInput = 1024

// noRule is the position of a rule that is none: behind all others.
const noRule = math.MaxInt32

// agentPattern is one user-agent rule as the matcher sees it; its position in the list is its number.
type agentPattern struct {
	mode agentMode
	text string         // folded and trimmed; unused by regex
	re   *regexp.Regexp // regex only
}

// agentMatcher finds the first of a list of patterns that matches a value, in one pass for all literal patterns: a
// trie for those bound to the beginning, an Aho–Corasick automaton for those that may stand anywhere.
type agentMatcher struct {
	anchored automaton
	floating automaton
	regexes  []numberedRegexp
}

type numberedRegexp struct {
	rule int32
	re   foldedRegexp
}

// automaton is a trie over folded bytes with, for floating patterns, its failure links resolved into transitions.
type automaton struct {
	class  [256]uint8 // byte → column; 0 for bytes that occur in no pattern
	width  int
	next   []int32 // state × width + column → state; 0 is the root, -1 a dead end (anchored only)
	accept []agentAccept
}

// agentAccept is the lowest rule that a state completes, by mode.
type agentAccept struct{ contains, exact, product, prefix int32 }

var acceptNothing = agentAccept{noRule, noRule, noRule, noRule}

// newAgentMatcher compiles patterns. Earlier ones win.
func newAgentMatcher(patterns []agentPattern) *agentMatcher {
	m := &agentMatcher{}
	m.anchored.prepare(patterns, func(p agentPattern) bool { return p.mode != agentContains && p.mode != agentRegex })
	m.floating.prepare(patterns, func(p agentPattern) bool { return p.mode == agentContains })
	for i, p := range patterns {
		switch p.mode {
		case agentRegex:
			m.regexes = append(m.regexes, numberedRegexp{int32(i), foldedRegexp{p.re}})
		case agentContains:
			m.floating.insert(p, int32(i))
		default:
			m.anchored.insert(p, int32(i))
		}
	}
	m.floating.link()
	return m
}

// match returns the position of the first pattern in the list that matches a raw header value, or -1. The value may
// be folded over lines (RFC 3261 §7.3.1); it is compared without regard to ASCII case.
func (m *agentMatcher) match(value []byte) int32 {
	value = trimSpace(value)
	best := min(m.anchoredMatch(value), m.floatingMatch(value))
	if best = m.matchRegexes(value, best); best == noRule {
		return -1
	}
	return best
}

// anchoredMatch walks the trie of what begins the value, until it leaves it.
func (m *agentMatcher) anchoredMatch(value []byte) int32 {
	best, at := int32(noRule), int32(0)
	for i := 0; i < len(value); {
		c, next := unfold(value, i)
		best = min(best, m.anchored.accept[at].before(c))
		if at = m.anchored.step(at, c); at < 0 {
			return best
		}
		best = min(best, m.anchored.accept[at].prefix)
		i = next
	}
	a := m.anchored.accept[at]
	return min(best, a.exact, a.product, a.prefix)
}

// floatingMatch runs the automaton of what stands anywhere over the whole value.
func (m *agentMatcher) floatingMatch(value []byte) int32 {
	best, state := int32(noRule), int32(0)
	if len(m.floating.accept) == 1 {
		return best // no such pattern
	}
	for i := 0; i < len(value); i++ {
		c := value[i]
		if c == '\r' || c == '\n' {
			var next int
			c, next = unfold(value, i)
			i = next - 1
		}
		if state = m.floating.step(state, c); state != 0 { // nothing ends where nothing has begun
			best = min(best, m.floating.accept[state].contains)
		}
	}
	return best
}

// before is what a state accepts if c comes next: a product name ends at '/' and at white space.
func (a agentAccept) before(c byte) int32 {
	if c == '/' || c == ' ' || c == '\t' {
		return a.product
	}
	return noRule
}

// matchRegexes looks for a regular expression that stands before the rule found so far.
func (m *agentMatcher) matchRegexes(value []byte, best int32) int32 {
	if len(m.regexes) == 0 || m.regexes[0].rule > best {
		return best
	}
	for _, r := range m.regexes {
		if r.rule > best {
			break
		}
		if r.re.match(value) {
			return r.rule
		}
	}
	return best
}

// foldedRegexp is a regular expression against the beginning of a header value whose line folds count as one space.
type foldedRegexp struct{ *regexp.Regexp }

// flats are buffers for values that are folded over lines, which no honest name is.
var flats = sync.Pool{New: func() any { return new([maxRegexInput]byte) }}

func (r foldedRegexp) match(value []byte) bool {
	value = trimSpace(value)
	if bytes.IndexByte(value, '\r') < 0 && bytes.IndexByte(value, '\n') < 0 {
		return r.Match(value[:min(len(value), maxRegexInput)])
	}
	flat, _ := flats.Get().(*[maxRegexInput]byte)
	defer flats.Put(flat)
	n := 0
	for i := 0; i < len(value) && n < len(flat); n++ {
		flat[n], i = unfold(value, i)
	}
	return r.Match(flat[:n])
}

// unfold returns the folded byte at i and where the next one begins: upper case becomes lower, a line fold one space.
func unfold(value []byte, i int) (c byte, next int) {
	c = value[i]
	switch {
	case 'A' <= c && c <= 'Z':
		return c + 'a' - 'A', i + 1
	case c != '\r' && c != '\n':
		return c, i + 1
	}
	for i < len(value) && isLinear(value[i]) {
		i++
	}
	return ' ', i
}

func isLinear(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

func trimSpace(b []byte) []byte {
	for len(b) > 0 && isLinear(b[0]) {
		b = b[1:]
	}
	for len(b) > 0 && isLinear(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

// foldASCII lowers ASCII letters only, byte by byte, as unfold does.
func foldASCII(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// userAgents is the second half of step 7. No user-agent rule can name a trunk or a node, so they are passed over.
func (r *Rules) userAgents(s *Subject, v *Verdict) bool {
	if s.Kind().system() {
		return false
	}
	for _, agent := range s.Agents {
		if len(agent) == 0 {
			continue
		}
		if i := r.shadows.find(agent); i >= 0 {
			v.wouldRefuse(r.shadows.rules[i])
		}
		if i := r.alarms.find(agent); i >= 0 {
			v.alarm(r.alarms.rules[i])
		}
		if i := r.agents.find(agent); i >= 0 {
			before := *v
			*v = r.agents.deeds[i].refuse(403, causeAgent)
			v.Rule, v.Shadow, v.Alarm = r.agents.rules[i], before.Shadow, before.Alarm
			return true
		}
	}
	return false
}

// find is the first pattern of a set that matches, or -1.
func (a *agentRules) find(agent []byte) int32 {
	if len(a.rules) == 0 {
		return -1
	}
	return a.matcher.match(agent)
}
