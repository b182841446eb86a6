package config

import (
	"regexp"
	"slices"
	"strings"
)

// later holds keys that are settled but not built: pattern of the path, and what to do meanwhile. [] stands for any
// index, * for any key.
var later = []struct{ path, hint string }{
	{"outside.trunks.wss", "WebSocket is for phones: remove the key"},
	{"inside.*.wss", "towards the PBX udp and tcp are available: remove the key"},
	{"inside.*.tls", "towards the PBX udp and tcp are available: remove the key"},
	{"inside.open", "only the PBX may send requests from inside: name its addresses in pbx.sources"},
	{"admin.operators", "changes are made by root or by the user that runs sbc"},
}

var indexRE = regexp.MustCompile(`\[[0-9]+\]`)

// notYet reports whether a path is a key of a later version, and what to do meanwhile.
func notYet(path string) (hint string, ok bool) {
	path = indexRE.ReplaceAllString(path, "[]")
	for _, l := range later {
		if matchPath(l.path, path) {
			return l.hint, true
		}
	}
	return "", false
}

func matchPath(pattern, path string) bool {
	p, s := strings.Split(pattern, "."), strings.Split(path, ".")
	if len(p) != len(s) {
		return false
	}
	for i := range p {
		if p[i] != "*" && p[i] != s[i] {
			return false
		}
	}
	return true
}

// nearest is the name that a misspelt one most probably stands for, or "".
func nearest(word string, names []string) string {
	best, bestAt := "", 3 // two slips are a misspelling, three another word
	if len(word) <= 4 {
		bestAt = 2
	}
	for _, name := range slices.Sorted(slices.Values(names)) {
		if folded(word) == folded(name) {
			return name
		}
		if at := distance(word, name); at < bestAt {
			best, bestAt = name, at
		}
	}
	return best
}

func folded(s string) string {
	return strings.NewReplacer("_", "", "-", "").Replace(strings.ToLower(s))
}

// distance counts insertions, deletions, substitutions and swaps of neighbours between two words (optimal string
// alignment). Long words differ by definition: the work is bounded.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	rows := [3][]int{make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)}
	before, prev, cur := rows[0], rows[1], rows[2]
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], before[j-2]+1)
			}
		}
		before, prev, cur = prev, cur, before
	}
	return prev[len(b)]
}

func sortedList(names []string) string {
	return strings.Join(slices.Sorted(slices.Values(names)), ", ")
}
