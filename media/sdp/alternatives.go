package sdp

import (
	"slices"
	"strings"
)

// Alternatives are the streams of which a peer offers the same thing by several addresses, each list in its order of
// preference (RFC 4091 §3: a=group:ANAT with the identifiers of the m= lines; ICE has taken its place, and equipment that
// came before ICE still sends it). A list has two members at least.
func (s *Session) Alternatives() (lists [][]int) {
	for _, l := range s.head {
		if !l.alternatives() {
			continue
		}
		var list []int
		_, v := l.attribute()
		for _, mid := range strings.Fields(v)[1:] {
			i := slices.IndexFunc(s.media, func(sec []line) bool { return identifier(sec) == mid })
			if i >= 0 && !slices.Contains(list, i) {
				list = append(list, i)
			}
		}
		if len(list) > 1 {
			lists = append(lists, list)
		}
	}
	return lists
}

// DropAlternatives takes out what says that streams are alternatives, after one of each list has been chosen.
func (s *Session) DropAlternatives() {
	s.head = slices.DeleteFunc(s.head, line.alternatives)
}

func (l line) alternatives() bool {
	name, v := l.attribute()
	f := strings.Fields(v)
	return strings.EqualFold(name, "group") && len(f) > 0 && f[0] == "ANAT"
}

// identifier is the a=mid of a stream's lines (RFC 5888 §4), empty where there is none.
func identifier(sec []line) string {
	for _, l := range sec {
		if name, v := l.attribute(); strings.EqualFold(name, "mid") {
			return strings.TrimSpace(v)
		}
	}
	return ""
}
