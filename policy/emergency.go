package policy

import "bytes"

// isEmergency reports whether a known peer calls an emergency number: no limit, no country and no budget stops that. Who it
// is decides before what it says: a stranger who names such a number is a stranger (RFC 7090 §6.2.2, RFC 5069 §4.2 speak of
// those who misuse the mark).
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
