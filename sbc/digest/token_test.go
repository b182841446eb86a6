package digest

import "testing"

// TestAlgorithmsAreTokens: case does not count, other letters than those of ASCII do.
func TestAlgorithmsAreTokens(t *testing.T) {
	for name, want := range map[string]struct {
		kind kind
		sess bool
	}{
		"": {md5Kind, false}, "MD5": {md5Kind, false}, "md5": {md5Kind, false}, "Md5-SESS": {md5Kind, true}, "-sess": {md5Kind, true},
		"sha-256": {sha256Kind, false}, "SHA-256-Sess": {sha256Kind, true}, "sha-512-256": {sha512t256Kind, false},
		"\u017fha-256": {}, "SHA-256-\u017fe\u017f\u017f": {}, "md5-se\u017fs": {}, "md5 ": {}, "md": {}, "sess": {}, "SHA-1": {},
		"sha-512-256-sess-sess": {0, true},
	} {
		if k, sess := algorithm(name); k != want.kind || k != 0 && sess != want.sess {
			t.Errorf("%q: %v %v", name, k, sess)
		}
	}
}
