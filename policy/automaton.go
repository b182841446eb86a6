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

// insert adds one pattern.
func (a *automaton) insert(p agentPattern, rule int32) {
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
	case agentRegex:
		// Expressions are matched one by one; newAgentMatcher keeps them out of here.
	}
}

// link turns the trie into an Aho–Corasick automaton: breadth first, every missing transition becomes that of the
// longest proper suffix, and every state accepts what its suffixes accept.
func (a *automaton) link() {
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
}

// step is the state behind one more byte; -1 is a dead end.
func (a *automaton) step(state int32, c byte) int32 {
	return a.next[int(state)*a.width+int(a.class[c])]
}
