package credentials

import (
	"iter"
	"strings"

	"sallyport/sbc/userpart"
)

// Login is the user name that the PBX has accepted a phone's REGISTER under. It need not be the user of its address-of-record (RFC
// 3261 §22.1 leaves names to the realm). The zero value is that of a phone of which nobody knows.
type Login struct {
	name  string // empty: the credentials named none, or several, of which nobody knows which the PBX took
	known bool   // there were credentials
}

// loginMost bounds a user name that is kept, in bytes.
const loginMost = 256

// Accepted is the login after a REGISTER with these credentials that the PBX has just accepted; one without says nothing new.
func (l Login) Accepted(credentials iter.Seq[string]) Login {
	is := Login{}
	for field := range credentials {
		is.known = true
		names, whole := Usernames(field)
		if !whole {
			return Login{known: true}
		}
		for _, name := range names {
			if len(name) > loginMost || is.name != "" && name != is.name {
				return Login{known: true}
			}
			is.name = name
		}
	}
	switch {
	case !is.known:
		return l
	case is.name == l.name:
		is.name = l.name // a refresh needs no more memory
	default:
		is.name = strings.Clone(is.name)
	}
	return is
}

// Answers reports whether a digest user name may be one of those that the phones at a source have: the user of an address-of-record
// that is bound there, in canonical form, with or without a host, or what the PBX has accepted a REGISTER of theirs under. A device with several accounts
// has several. Where that is not known of a phone there, as after a restart, any may be; so it is where there is no phone.
func Answers(phones iter.Seq2[string, Login], username string) bool {
	user, _, _ := strings.Cut(username, "@")
	none := true
	for own, l := range phones {
		own = userpart.Plain(own) // "username" is text: it has no escapes (RFC 7616 §3.4)
		if !l.known || username != "" && (strings.EqualFold(username, l.name) || strings.EqualFold(user, own) || strings.EqualFold(username, own)) {
			return true
		}
		none = false
	}
	return none
}
