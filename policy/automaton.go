package policy

// prepare numbers the bytes that occur in the chosen patterns and makes the root.
func (a *automaton) prepare(patterns []agentPattern, chosen func(agentPattern) bool) {
	a.width = 1
	for _, p := range patterns {
		if !chosen(p) {
			continue
		}
		for i := range len(p.text) {
			if c := p.text[i]; a.class[c] == 0 && a.width < 256 {
				a.class[c] = uint8(a.width)
				a.width++
			}
		}
	}
	for c := byte('a'); c <= 'z'; c++ {
		a.class[c+'A'-'a'] = a.class[c]
	}
	a.grow()
}

// grow adds a state without transitions and returns it.
func (a *automaton) grow() int32 {
	for range a.width {
		a.next = append(a.next, -1)
	}
	a.accept = append(a.accept, acceptNothing)
	return int32(len(a.accept) - 1)
}

// insert adds one pattern and returns the state that completes it.
func (a *automaton) insert(p agentPattern, rule int32) int32 {
	at := int32(0)
	for i := range len(p.text) {
		slot := int(at)*a.width + int(a.class[p.text[i]])
		if a.next[slot] < 0 {
			s := a.grow()
			a.next[slot] = s
		}
		at = a.next[slot]
	}
	accept := &a.accept[at]
	switch p.mode {
	case agentContains:
		accept.contains = min(accept.contains, rule)
	case agentExact:
		accept.exact = min(accept.exact, rule)
	case agentProduct:
		accept.product = min(accept.product, rule)
	case agentPrefix:
		accept.prefix = min(accept.prefix, rule)
	case agentRegex, agentAbsent:
		// Expressions are matched one by one, and absence needs no search; both are kept out of here.
	}
	return at
}

// link turns the trie into an Aho–Corasick automaton: breadth first, every missing transition becomes that of the
// longest proper suffix, and every state accepts what its suffixes accept. It returns those suffixes.
func (a *automaton) link() (suffixes []int32) {
	fail := make([]int32, len(a.accept))
	var queue []int32
	for column := range a.width {
		if s := a.next[column]; s > 0 {
			queue = append(queue, s)
		} else {
			a.next[column] = 0
		}
	}
	for len(queue) > 0 {
		s := queue[0]
		queue = queue[1:]
		a.accept[s].contains = min(a.accept[s].contains, a.accept[fail[s]].contains)
		for column := range a.width {
			slot, other := int(s)*a.width+column, a.next[int(fail[s])*a.width+column]
			if t := a.next[slot]; t >= 0 {
				fail[t] = other
				queue = append(queue, t)
			} else {
				a.next[slot] = other
			}
		}
	}
	return fail
}

// step is the state behind one more byte, in either case; -1 is a dead end.
func (a *automaton) step(state int32, c byte) int32 {
	return a.next[int(state)*a.width+int(a.class[c])]
}

// setMatcher finds all rules that have a pattern which a value satisfies, in one pass over the value for those that may
// stand anywhere, and one over its beginning for the others.
type setMatcher struct {
	anchored, floating automaton
	begins, occurs     [][]numberedPattern // state → patterns that it completes
	shorter            []int32             // state → the longest proper suffix of it that completes a pattern, or 0
}

type numberedPattern struct {
	mode agentMode
	rule int32
}

// newSetMatcher compiles patterns; owners are the rules that they belong to.
func newSetMatcher(patterns []agentPattern, owners []int) setMatcher {
	var m setMatcher
	m.anchored.prepare(patterns, func(p agentPattern) bool { return p.mode != agentContains })
	m.floating.prepare(patterns, func(p agentPattern) bool { return p.mode == agentContains })
	begins, occurs := map[int32][]numberedPattern{}, map[int32][]numberedPattern{}
	for i, p := range patterns {
		rule := int32(owners[i])
		if p.mode == agentContains {
			at := m.floating.insert(p, rule)
			occurs[at] = append(occurs[at], numberedPattern{p.mode, rule})
		} else {
			at := m.anchored.insert(p, rule)
			begins[at] = append(begins[at], numberedPattern{p.mode, rule})
		}
	}
	m.begins, m.occurs = make([][]numberedPattern, len(m.anchored.accept)), make([][]numberedPattern, len(m.floating.accept))
	for at, list := range begins {
		m.begins[at] = list
	}
	for at, list := range occurs {
		m.occurs[at] = list
	}
	suffixes := m.floating.link()
	m.shorter = make([]int32, len(suffixes))
	for at := range suffixes {
		next := suffixes[at]
		for next != 0 && len(m.occurs[next]) == 0 {
			next = suffixes[next]
		}
		m.shorter[at] = next
	}
	return m
}

// search adds the rules that a trimmed value satisfies to found.
func (m *setMatcher) search(value []byte, found *ruleSet) {
	m.searchBeginning(value, found)
	if len(m.floating.accept) == 1 {
		return
	}
	state := int32(0)
	for i := 0; i < len(value); {
		c, next := unfold(value, i)
		state, i = m.floating.step(state, c), next
		for at := state; at != 0; at = m.shorter[at] {
			for _, p := range m.occurs[at] {
				found.add(int(p.rule))
			}
		}
	}
}

func (m *setMatcher) searchBeginning(value []byte, found *ruleSet) {
	if len(m.anchored.accept) == 1 {
		return
	}
	at := int32(0)
	for i := 0; i < len(value); {
		c, next := unfold(value, i)
		for _, p := range m.begins[at] {
			if p.mode == agentPrefix || p.mode == agentProduct && (c == '/' || c == ' ' || c == '\t') {
				found.add(int(p.rule))
			}
		}
		if at, i = m.anchored.step(at, c), next; at < 0 {
			return
		}
	}
	for _, p := range m.begins[at] {
		found.add(int(p.rule)) // the value ends here: every mode holds
	}
}
