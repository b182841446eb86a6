package registrar

import (
	"net/netip"
	"strings"
	"time"

	"sallyport/sbc/digest"
	"sallyport/sbc/tu"
)

// login is the user name that the PBX has accepted a phone's REGISTER under. It need not be the user of its address-of-record (RFC
// 3261 §22.1 leaves names to the realm). It lives with the binding, and does not outlive the program.
type login struct {
	name  string // empty: the credentials named none, or several, of which nobody knows which the PBX took
	known bool   // there were credentials
}

// loginMost bounds a user name that is kept, in bytes.
const loginMost = 256

// login is that of the REGISTER that the PBX has just accepted; one without credentials says nothing new.
func (r *Register) login(before login) login {
	if !r.authorised() {
		return before
	}
	is := login{known: true}
	for value := range tu.Credentials(r.msg) {
		names, whole := digest.Usernames(value)
		if !whole {
			return login{known: true}
		}
		for _, name := range names {
			if len(name) > loginMost || is.name != "" && name != is.name {
				return login{known: true}
			}
			is.name = name
		}
	}
	if is.name == before.name {
		is.name = before.name // a refresh needs no more memory
	} else {
		is.name = strings.Clone(is.name)
	}
	return is
}

// Answers reports whether a digest user name may be one of those that phones at an address (IPv6: its /64) have: the user of an
// address-of-record that is bound there, with or without a host, or what the PBX has accepted a REGISTER of theirs under. A device with
// several accounts has several. Where that is not known of a phone there, as after a restart, any may be.
func (b *Book) Answers(source netip.Addr, username string) bool {
	tokens := b.sources[limitKey(source.Unmap())]
	user, _, _ := strings.Cut(username, "@")
	for _, token := range tokens {
		e := b.tokens[token]
		own := e.b.AoR[:max(strings.LastIndexByte(e.b.AoR, '@'), 0)]
		if !e.login.known || username != "" && (strings.EqualFold(username, e.login.name) || strings.EqualFold(user, own)) {
			return true
		}
	}
	return len(tokens) == 0
}

// suspectFor is for how long a phone that has guessed at another's password is not forgiven because it knows its own.
const suspectFor = 10 * time.Minute

// suspect names an address-of-record at a source.
func suspect(aor string, source netip.Addr) string {
	return aor + " " + limitKey(source.Unmap()).String()
}

// Suspect notes that a phone has answered a challenge in a name that is not one of its own (see Answers).
func (b *Book) Suspect(now time.Time, aor string, source netip.Addr) {
	b.suspects.put(suspect(aor, source), now)
}

// Suspected reports whether it did lately. That its own password is right says nothing then of what it has tried.
func (b *Book) Suspected(now time.Time, aor string, source netip.Addr) bool {
	at := b.suspects.get(suspect(aor, source))
	return !at.IsZero() && now.Sub(at) < suspectFor
}
