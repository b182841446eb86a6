package toll

import (
	"strings"

	"sallyport/sbc/userpart"
)

// Number is the number that the user part of a URI dials, for comparison with prefixes: without "tel:" or "sip:", host,
// parameters and visual separators (RFC 3966 §5.1.1), escapes resolved, and + in the place of a leading 00. Whatever is left
// when that is done is returned as it is: a name has digits nowhere, or the digits that it begins with count.
func Number(user string) string {
	for _, scheme := range [...]string{"tel:", "sip:", "sips:"} {
		if len(user) > len(scheme) && strings.EqualFold(user[:len(scheme)], scheme) {
			user = user[len(scheme):]
			break
		}
	}
	if plain(user) {
		return international(user[:min(len(user), numberMost)])
	}
	out := make([]byte, 0, min(len(user), numberMost))
	for i := 0; i < len(user) && len(out) < numberMost; {
		var c byte
		c, i = userpart.Char(user, i) // RFC 3261 §19.1.4: "%30" is a zero to whoever dials it
		switch c {
		case ';', ':', '@':
			return international(string(out)) // parameters, a password, the host
		case '-', '.', '(', ')', ' ', '/':
		default:
			out = append(out, c)
		}
	}
	return international(string(out))
}

// numberMost bounds what is left, for no prefix is that long; what stands there for the eye does not count, however much it is.
const numberMost = 128

// plain reports whether there is nothing to do but for a leading 00.
func plain(s string) bool {
	for i := range len(s) {
		if key(s[i]) < 0 {
			return false
		}
	}
	return true
}

func international(n string) string {
	if strings.HasPrefix(n, "00") {
		return "+" + strings.TrimLeft(n, "0") // more zeros lead nowhere else
	}
	if strings.HasPrefix(n, "+00") {
		return "+" + strings.TrimLeft(n[1:], "0")
	}
	return n
}

// keys are the letters of a number; a prefix tree has so many ways at each step.
const keys = 13

// key is the way of a letter, -1: it is not of a number.
func key(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c == '*':
		return 10
	case c == '#':
		return 11
	case c == '+':
		return 12
	}
	return -1
}

// tree finds the rules whose prefixes a number begins with. Nodes refer to each other by index; 0 is the root, and no child
// is the root.
type tree struct{ nodes []node }

type node struct {
	next  [keys]int32
	rules []int32 // indexes of rules that have a prefix ending here, in order
}

func (t *tree) add(prefix string, rule int) {
	if len(t.nodes) == 0 {
		t.nodes = make([]node, 1)
	}
	at := int32(0)
	for i := range len(prefix) {
		k := key(prefix[i])
		if t.nodes[at].next[k] == 0 {
			t.nodes = append(t.nodes, node{})
			t.nodes[at].next[k] = int32(len(t.nodes) - 1)
		}
		at = t.nodes[at].next[k]
	}
	n := &t.nodes[at]
	if last := len(n.rules); last == 0 || n.rules[last-1] != int32(rule) {
		n.rules = append(n.rules, int32(rule))
	}
}

// walk notes, for each rule that has a prefix of the number, how long its longest one is.
func (t *tree) walk(number string, longest map[int32]int) {
	if len(t.nodes) == 0 {
		return
	}
	at := int32(0)
	for i := range len(number) {
		k := key(number[i])
		if k < 0 {
			return
		}
		if at = t.nodes[at].next[k]; at == 0 {
			return
		}
		for _, r := range t.nodes[at].rules {
			longest[r] = i + 1
		}
	}
}
