package tu

import (
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
)

// RetryAfter is what a peer is asked to wait when the whole gate cannot take a request, in seconds.
const RetryAfter = "10"

// Untaken is what a request outside of calls is refused with when no hop took it: the code and reason of the last one, but where that
// one was not to be had.
func Untaken(last *Hop, code int, why reason.Reason) (int, reason.Reason) {
	lost := code == 408 || code == 503
	switch {
	case !lost || why == reason.Overload:
	case last.Peer != nil && last.Peer.Kind == KindPhone:
		return 480, why // its connection is gone, or it sleeps; 503 would speak for all phones
	case last.Peer != nil && last.Peer.Kind == KindNode && why != reason.NoCapacity:
		return 503, reason.NoPBX
	}
	return code, why
}

// Refusal is an answer of our own to a request outside of calls: a code that such an answer may have, whatever it was, and
// Retry-After, which only conditions of the whole gate or realm carry, for a provider stops the whole trunk on it.
func Refusal(code int, why reason.Reason) (int, []message.Header) {
	switch {
	case code == 408:
		code = 504 // "MUST NOT send a 408 to a non-INVITE request" (RFC 4320 §4.2)
	case code < 300 || code > 699:
		code = 503
	}
	if code == 503 && (why == reason.NoPBX || why == reason.Overload || why == reason.Draining) {
		return code, []message.Header{{Name: "Retry-After", Value: RetryAfter}}
	}
	return code, nil
}
