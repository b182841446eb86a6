package credentials

import "strings"

// Nonce is that of a challenge or of credentials (RFC 7616 §3.3, §3.4). It is plain where nobody can read another one there: what has
// two, or an escape in one that some resolve and others compare as it stands, or is no list of parameters, is not.
func Nonce(field string) (nonce string, plain bool) {
	plain = each(field, func(name, value string) (more bool) {
		if !strings.EqualFold(name, "nonce") {
			return true
		}
		if nonce != "" || strings.Contains(value, `\`) {
			return false
		}
		nonce = value
		return true
	})
	return nonce, plain
}

// nonceMost is the longest nonce that is remembered; a longer one only costs a challenge more.
const nonceMost = 256

// Remembered is the nonce of a challenge or of credentials; "": it has none that is remembered.
func Remembered(field string) string {
	if nonce, _ := Nonce(field); len(nonce) <= nonceMost {
		return nonce
	}
	return ""
}

// Usernames are those of credentials as they stand between their quotes (RFC 7616 §3.4, §3.4.4): one, unless who wrote them wants them
// read in two ways. Credentials that are no list of parameters to the end are not whole: behind that anything may be read. Those of
// another scheme have none.
func Usernames(field string) (names []string, whole bool) {
	field = trim(field)
	if scheme := token(field); scheme != "" && !SameToken(scheme, "Digest") {
		return nil, true
	}
	whole = each(field, func(name, value string) bool {
		if SameToken(name, "username") || SameToken(name, "username*") {
			names = append(names, value)
		}
		return true
	})
	return names, whole
}

// Stale reports whether a challenge finds fault with an old nonce and nothing else (RFC 7616 §3.3). It is read by a looser rule than
// the rest: a PBX that says so in an odd way has said so, and it is no phone's to write.
func Stale(challenge string) bool {
	const name, value = "stale", "true"
	for i := 0; i+len(name) <= len(challenge); i++ {
		if challenge[i]|0x20 != name[0] || !strings.EqualFold(challenge[i:i+len(name)], name) {
			continue
		}
		rest, has := strings.CutPrefix(trim(challenge[i+len(name):]), "=")
		rest = trim(strings.TrimPrefix(trim(rest), `"`))
		if has && len(rest) >= len(value) && strings.EqualFold(rest[:len(value)], value) {
			return true
		}
	}
	return false
}
