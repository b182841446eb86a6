package sdp

import "strings"

// DropPreconditions takes out what a peer demands of the resources of a stream and says of their state (RFC 3312 §4:
// a=curr, a=des, a=conf), for a peer that has not said that it knows preconditions.
func (s *Session) DropPreconditions() {
	s.filter(func(l line, _ bool) bool {
		name, _ := l.attribute()
		return strings.EqualFold(name, "curr") || strings.EqualFold(name, "des") || strings.EqualFold(name, "conf")
	})
}
