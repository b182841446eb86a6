package capture

import (
	"context"
	"net/netip"
	"time"

	"sallyport/policy"
	"sallyport/sbc/api"
	"sallyport/sbc/tu"
)

// subject is whom a capture follows; one of the fields is set.
type subject struct {
	kind   string
	source netip.Prefix
	call   tu.UserID
	aor    string
	rules  *ruled
}

// subject finds out what a word means.
func (s *Set) subject(ctx context.Context, word string) (x subject, err error) {
	if p, err := netip.ParsePrefix(word); err == nil {
		return subject{kind: "the prefix", source: p.Masked()}, nil
	}
	if a, err := netip.ParseAddr(word); err == nil {
		a = a.Unmap().WithZone("")
		return subject{kind: "the address", source: netip.PrefixFrom(a, a.BitLen())}, nil
	}
	err = s.program.Do(ctx, func(time.Time) {
		for id, call := range s.program.Calls() {
			if call.Is(word) {
				x = subject{kind: "the call", call: id}
			}
		}
	})
	if err != nil || x.call != 0 {
		return x, err
	}
	if aor, ok := s.program.Phone(ctx, word); ok {
		return subject{kind: "the phone", aor: aor}, nil
	}
	return x, api.NotFound("give a call in progress (`sbc calls`), an address or prefix, or a phone (user or user@domain)", "there is no %q", word)
}

// from reports whether everything of a source is wanted.
func (x *subject) from(a netip.Addr) bool {
	return x.source.IsValid() && x.source.Contains(a.Unmap().WithZone(""))
}

// names reports whether the value of a From or To field names a phone, in a domain that is served.
func (s *Set) names(aor string, value []byte) bool {
	host, ok := policy.Names(value, aor)
	return ok && s.program.Serves(string(host))
}
