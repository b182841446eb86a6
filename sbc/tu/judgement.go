package tu

import (
	"iter"

	"sallyport/sbc/credentials"
	"sallyport/sbc/message"
)

// Judged adds the note that a final answer of the PBX's to a request of a phone's is worth.
func Judged(near Hop, far *Peer, request, answer *message.Message, do []Action) []Action {
	p := near.Peer
	if p == nil || p.Kind != KindPhone || far == nil || far.Kind != KindNode {
		return do
	}
	a := credentials.Answer{
		Method: request.Method, Code: answer.Status, Signed: Signed(request), Stale: isStale(answer), Stranger: p.Stranger, Named: p.Name != "",
	}
	j := a.Judge()
	if j == credentials.Unjudged {
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

// isStale reports whether an answer is a challenge that finds fault with an old nonce and nothing else.
func isStale(m *message.Message) bool {
	for i := range m.Headers {
		h := &m.Headers[i]
		if (h.Name == "WWW-Authenticate" || h.Name == "Proxy-Authenticate") && credentials.Stale(h.Value) {
			return true
		}
	}
	return false
}
