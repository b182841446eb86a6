package registrar

import (
	"net/netip"
	"strings"
	"time"

	"sallyport/sbc/credentials"
)

// Answers reports whether a digest user name may be one of those that phones at an address (IPv6: its /64) have. The names that the PBX
// has accepted REGISTERs under live with their bindings, and do not outlive the program: credentials.Answers.
func (b *Book) Answers(source netip.Addr, username string) bool {
	return credentials.Answers(func(yield func(string, credentials.Login) bool) {
		for _, token := range b.sources[limitKey(source.Unmap())] {
			e := b.tokens[token]
			if !yield(e.b.AoR[:max(strings.LastIndexByte(e.b.AoR, '@'), 0)], e.login) {
				return
			}
		}
	}, username)
}

// Suspect notes that a phone has answered a challenge in a name that is not one of its own (see Answers).
func (b *Book) Suspect(now time.Time, aor string, source netip.Addr) {
	b.suspects.Note(now, aor, limitKey(source.Unmap()))
}

// Suspected reports whether it did lately. That its own password is right says nothing then of what it has tried.
func (b *Book) Suspected(now time.Time, aor string, source netip.Addr) bool {
	return b.suspects.Has(now, aor, limitKey(source.Unmap()))
}
