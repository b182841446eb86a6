package credentials

import "iter"

// Judgement is what a final answer says about whoever asked.
type Judgement uint8

// The judgements.
const (
	Unjudged      Judgement = iota // nothing
	WrongDigest                    // it answered a challenge, and wrongly
	DoubtedDigest                  // so did a registered phone: a guess only where it did so in a name that is not its own
	UnknownUser                    // it asked for a user that there is not
	Nowhere                        // it called a number that there is not
	Accepted                       // it registered, and knew the password
)

// Answer is the PBX's final answer to a phone's request, as far as it is judged.
type Answer struct {
	Method   string
	Code     int
	Signed   bool // the request carried credentials, for whomever
	Stale    bool // the answer finds fault with an old nonce and nothing else
	Stranger bool // nobody is registered where the request came from
	Named    bool // whoever asks is registered, and speaks as who it is; no REGISTER does
}

// Judge reads an answer.
//
// A wrong digest is a challenge or a refusal of a request that carried credentials (RFC 3261 §22.1: a 401 or 407 to such a
// one; §21.4.4: 403, as many PBXes answer a wrong password). A stale nonce is none (RFC 7616 §3.3). Users that do not exist
// are a stranger's fault alone: a phone may dial what it likes.
//
// A phone that is registered, and speaks as who it is, has shown its password: a 403 forbids it a number, a 401 wants a newer nonce.
// Only by a challenge to credentials in another's name it is told that it knows not his; whose names are its own Weigh asks.
func (a *Answer) Judge() Judgement {
	j := a.stranger()
	if !a.Named {
		return j
	}
	if j != WrongDigest || !challenge(a.Code) {
		return Unjudged
	}
	return DoubtedDigest
}

// stranger judges whoever is not known by name.
func (a *Answer) stranger() Judgement {
	switch code := a.Code; {
	case challenge(code):
		if a.Signed && !a.Stale {
			return WrongDigest
		}
	case code == 403 && a.Signed:
		return WrongDigest
	case (code == 404 || code == 604) && a.Stranger && a.Method == "INVITE": // RFC 3261 §21.4.5, §21.6.3
		return Nowhere
	case code == 403 || code == 404 || code == 480 || code == 604:
		if a.Stranger {
			return UnknownUser
		}
	case code >= 200 && code < 300 && a.Signed && a.Method == "REGISTER":
		return Accepted
	}
	return Unjudged
}

// challenge reports whether an answer asks for credentials (RFC 3261 §22.2, §22.3).
func challenge(code int) bool { return code == 401 || code == 407 }

// Known is what is known of a phone's request besides what it says.
type Known interface {
	Issued(nonce string) bool     // the PBX has given it out, as far as that is remembered
	Answers(username string) bool // a phone where the request came from may have that name: see the function of this name
	Suspect()                     // whoever asked has tried another's name
	Suspected() bool              // it has done so lately
}

// Weigh is what is left of a judgement by what is known: Unjudged, or what the guard is to be told. Credentials are the values of the
// request's fields. DoubtedDigest becomes one of the two.
func Weigh(j Judgement, code int, credentials iter.Seq[string], by Known) Judgement {
	// Phones begin with the nonce that they had last. A PBX that has restarted does not know it, and not every one calls it
	// stale: an office that comes back has guessed no password. Of a 403 the digest has been looked at.
	if j == WrongDigest && code != 403 && strange(credentials, by) {
		return Unjudged
	}
	posing := (j == WrongDigest || j == DoubtedDigest) && poses(credentials, by)
	switch {
	case posing:
		by.Suspect()
		return WrongDigest
	case j == DoubtedDigest:
		return Unjudged
	case j == Accepted && by.Suspected():
		return Unjudged // else who has an account could try three passwords of another's, register, and try three more
	}
	return j
}

// strange reports whether credentials are for nonces that the PBX has not given out, as far as is remembered. What the PBX may read in
// another way than we do is not: who guesses would write it so.
func strange(credentials iter.Seq[string], by Known) bool {
	for field := range credentials {
		if nonce, plain := Nonce(field); !plain || by.Issued(nonce) {
			return false
		}
	}
	return true
}

// poses reports whether credentials answer a challenge of the PBX's in a name by which no phone at their source is known. Credentials
// for the nonce of somebody else are none of the PBX's to judge; those that the PBX may read in another way than we do are in any
// name, as in strange.
func poses(credentials iter.Seq[string], by Known) bool {
	for field := range credentials {
		if nonce, plain := Nonce(field); plain && !by.Issued(nonce) {
			continue
		}
		names, whole := Usernames(field)
		if !whole {
			names = append(names, "")
		}
		for _, name := range names {
			if !by.Answers(name) {
				return true
			}
		}
	}
	return false
}
