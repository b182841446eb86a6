package tu

import "slices"

// Codes are ranges of status codes.
type Codes []CodeRange

// CodeRange is the codes from First to Last, both included.
type CodeRange struct{ First, Last int }

// Has reports whether a code is one of them.
func (c Codes) Has(code int) bool {
	return slices.ContainsFunc(c, func(r CodeRange) bool { return r.First <= code && code <= r.Last })
}

// Elsewhere reports whether a final answer of a peer sends a request on to the next hop of its plan: 503 always does (RFC 3263
// §4.3), other codes where the peer's setting has them. What a callee decides himself never does: "the 486 (Busy Here) … 600 …
// 603" (RFC 3261 §21.4.24, §21.6) are true of him wherever he is called.
func (p *Peer) Elsewhere(code int) bool {
	return code == 503 || MayFailOver(code) && p.Failover.Has(code)
}

// MayFailOver reports whether a code can be a reason to try elsewhere. Not what is asked of us, and not of the way (challenges,
// 422), what ends a request of ours (487, 491), or what the callee has decided (486, 6xx).
func MayFailOver(code int) bool {
	switch code {
	case 401, 407, 422, 486, 487, 491:
		return false
	}
	return code >= 400 && code <= 599
}

// Challenge reports whether a response asks for credentials (RFC 3261 §22).
func Challenge(code int) bool { return code == 401 || code == 407 }
