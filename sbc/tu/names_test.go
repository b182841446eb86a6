package tu

import (
	"strings"
	"testing"
)

func TestNamesAreStableAndApart(t *testing.T) {
	a, again, other := NewNameKey([16]byte{1}), NewNameKey([16]byte{1}), NewNameKey([16]byte{2})
	tags := NewTagKey([16]byte{3})
	for _, parts := range [][]string{nil, {""}, {"a", "bc"}, {"ab", "c"}, {"abc"}, {"204@example.com", "<urn:uuid:1>"}} {
		if a.Token(parts...) != again.Token(parts...) || a.CallID(parts...) != again.CallID(parts...) || a.Tag(tags, parts...) != again.Tag(tags, parts...) {
			t.Errorf("%q: two names under one key", parts)
		}
		if a.Token(parts...) == other.Token(parts...) {
			t.Errorf("%q: one name under two keys", parts)
		}
		if !tags.Owns([]byte(a.Tag(tags, parts...))) {
			t.Errorf("%q: its tag is not ours", parts)
		}
		if len(a.Token(parts...)) != 16 || strings.Trim(a.Token(parts...)+a.CallID(parts...), alphabet) != "" {
			t.Errorf("%q: %q, %q", parts, a.Token(parts...), a.CallID(parts...))
		}
	}
	seen := map[string][]string{}
	for _, parts := range [][]string{nil, {""}, {"", ""}, {"a", "bc"}, {"ab", "c"}, {"abc"}} {
		if before, twice := seen[a.Token(parts...)]; twice {
			t.Errorf("%q and %q have one name", before, parts)
		}
		seen[a.Token(parts...)] = parts
	}
	// A token stands on disk and in a PBX's registrations: it must not change with a release.
	if got := a.Token("204@example.com", "x"); got != "5t4f6e3gyceer690" {
		t.Errorf("token %s", got)
	}
}
