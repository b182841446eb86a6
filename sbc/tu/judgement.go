package tu

import (
	"iter"
	"strings"

	"sallyport/sbc/message"
)

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

// Judge reads what the PBX's final answer to a phone's request says about the sender: with credentials or without, about a
// nonce that was merely old, a stranger or not.
//
// A wrong digest is a challenge or a refusal of a request that carried credentials (RFC 3261 §22.1: a 401 or 407 to such a
// one; §21.4.4: 403, as many PBXes answer a wrong password). A stale nonce is none (RFC 7616 §3.3). Users that do not exist
// are a stranger's fault alone: a phone may dial what it likes.
func Judge(method string, code int, signed, stale, stranger bool) Judgement {
	switch {
	case Challenge(code):
		if signed && !stale {
			return WrongDigest
		}
	case code == 403 && signed:
		return WrongDigest
	case (code == 404 || code == 604) && stranger && method == "INVITE": // RFC 3261 §21.4.5, §21.6.3
		return Nowhere
	case code == 403 || code == 404 || code == 480 || code == 604:
		if stranger {
			return UnknownUser
		}
	case code >= 200 && code < 300 && signed && method == "REGISTER":
		return Accepted
	}
	return Unjudged
}

// Judged adds the note that a final answer of the PBX's to a request of a phone's is worth. A phone that is registered, and
// speaks as who it is, has shown its password: a 403 forbids it a number, a 401 wants a newer nonce. Only by a challenge to
// credentials in another's name it is told that it knows not his; whose names are its own the assembly knows.
func Judged(near Hop, far *Peer, request, answer *message.Message, do []Action) []Action {
	p := near.Peer
	if p == nil || p.Kind != KindPhone || far == nil || far.Kind != KindNode {
		return do
	}
	j := Judge(request.Method, answer.Status, Signed(request), isStale(answer), p.Stranger)
	if p.Name != "" {
		if j != WrongDigest || !Challenge(answer.Status) {
			return do
		}
		j = DoubtedDigest
	}
	if j == Unjudged {
		return do
	}
	return append(do, Note{
		Source: near.Flow.Remote, Transport: near.Flow.Transport, Side: p.Side, Realm: p.Realm, Method: request.Method,
		Code: answer.Status, Judgement: j, Request: request,
	})
}

// Signed reports whether a request carries credentials.
func Signed(m *message.Message) bool {
	for range Credentials(m) {
		return true
	}
	return false
}

// Credentials yields those that a request carries, for whomever (RFC 3261 §22.2, §22.3): the fields' values.
func Credentials(m *message.Message) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range m.Headers {
			h := &m.Headers[i]
			if (h.Name == "Authorization" || h.Name == "Proxy-Authorization") && !yield(h.Value) {
				return
			}
		}
	}
}

// isStale reports whether a challenge finds fault with an old nonce and nothing else.
func isStale(m *message.Message) bool {
	for i := range m.Headers {
		if h := &m.Headers[i]; h.Name != "WWW-Authenticate" && h.Name != "Proxy-Authenticate" {
			continue
		}
		value := strings.ToLower(strings.Join(strings.Fields(m.Headers[i].Value), ""))
		if strings.Contains(value, "stale=true") || strings.Contains(value, `stale="true"`) {
			return true
		}
	}
	return false
}
