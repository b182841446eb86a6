package sdp

import (
	"iter"
	"net/netip"
)

// addresses yields every address literal and host name in the o=, c=, a=rtcp, a=candidate and a=remote-candidates
// lines of a description, as parts of b.
func addresses(b []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for at := 0; at < len(b); {
			l, next := nextLine(b, at)
			for h := range hosts(l) {
				if !yield(l[h.from:h.to:h.to]) {
					return
				}
			}
			at = next
		}
	}
}

// replaceAddress is Replace for one address, however it is spelt.
func replaceAddress(b []byte, old, by netip.Addr) []byte {
	old = old.Unmap()
	out, _ := Replace(b, func(host []byte) bool { return literal(string(host)) == old }, by)
	return out
}
