package policy

import (
	"bytes"
	"time"
)

// isEmergency reports whether a known peer calls an emergency number. Who it is decides before what it says: a stranger who
// names such a number is a stranger (RFC 7090 §6.2.2, RFC 5069 §4.2 speak of those who misuse the mark).
func (r *Rules) isEmergency(s *Subject) bool {
	if len(r.emergency) == 0 || s.Method != MethodInvite || !s.Request || s.Kind() == Stranger {
		return false
	}
	var room [maxUserName]byte
	user := appendUser(room[:0], dialled(s.URI))
	for _, number := range r.emergency {
		if string(user) == number {
			return true
		}
	}
	return false
}

// urgentLimit is how many emergency calls of one known peer, for each phone behind its address, no limit and no country
// stops. The address of a datagram can be forged, and a stranger behind the same NAT has it, too: without a bound the number
// would be a way past all others.
var urgentLimit = limit{key: keyOf("emergency"), rule: -1, text: Rate{2, time.Second}, rate: 2, burst: 10, perPhone: true}

// isUrgent takes an emergency call out of its own bucket. One too many is a call like any other: the limits judge it, and it
// is not refused for being one too many.
func (r *Rules) isUrgent(now time.Time, s *Subject, st *State) bool {
	at, z := st.age(now), r.urgent.size(s.Behind)
	if s.Trial {
		left, _ := st.limits.level(at, r.urgent.key, z, s.Key, true)
		return left >= 1-slack
	}
	return st.limits.take(at, r.urgent.key, z, s.Key, true)
}

// dialled is what a Request-URI dials: the user part of sip: and sips:, the subscriber number of tel: (RFC 3966 §3), without
// parameters.
func dialled(uri []byte) []byte {
	scheme, rest, _ := bytes.Cut(uri, []byte(":"))
	number, _, whole := bytes.Cut(rest, []byte("@"))
	if !whole && !bytes.EqualFold(scheme, []byte("tel")) {
		return nil // a host alone
	}
	number, _, _ = bytes.Cut(number, []byte(";"))
	return number
}
