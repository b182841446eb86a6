package call

import (
	"slices"

	"sallyport/media/sdp"
	"sallyport/sbc/tu"
)

// suites are those that we can act upon, by name.
var suites = map[string]tu.Suite{
	"AES_CM_128_HMAC_SHA1_80": tu.AES128CM80, "AES_CM_128_HMAC_SHA1_32": tu.AES128CM32,
	"AES_256_CM_HMAC_SHA1_80": tu.AES256CM80, "AES_256_CM_HMAC_SHA1_32": tu.AES256CM32,
	"AEAD_AES_128_GCM": tu.AEADAES128GCM, "AEAD_AES_256_GCM": tu.AEADAES256GCM,
}

func suiteName(s tu.Suite) string {
	for name, is := range suites {
		if is == s {
			return name
		}
	}
	return ""
}

// offeredSuite is offered alone: it is the one that all equipment has, and a longer list is more than some can take.
const offeredSuite = tu.AES128CM80

// ownKey is a key of ours towards a leg.
type ownKey struct {
	suite tu.Suite
	key   [46]byte
}

// keyFor is our key towards a leg for a stream. It stays the same for the whole call: nobody has to change it in the
// middle of a word. Another suite has another key.
func (c *Call) keyFor(leg, stream int, suite tu.Suite) [46]byte {
	m := &c.legs[leg].media
	for len(m.own) <= stream {
		m.own = append(m.own, nil)
	}
	for _, k := range m.own[stream] {
		if k.suite == suite {
			return k.key
		}
	}
	k := ownKey{suite: suite}
	for at := 0; at < sdp.KeyLen(suiteName(suite)); at += 16 {
		b := c.ids.Block()
		copy(k.key[at:min(at+16, sdp.KeyLen(suiteName(suite)))], b[:])
	}
	m.own[stream] = append(m.own[stream], k)
	return k.key
}

// retire forgets our keys of other suites than those in force: none that was in force comes back, with indices that have served
// (RFC 3711 §9.1).
func (s *mediaState) retire(seals []seal) {
	for i := range min(len(seals), len(s.own)) {
		if suite := seals[i].crypto.Suite; suite != tu.NoCrypto {
			s.own[i] = slices.DeleteFunc(s.own[i], func(k ownKey) bool { return k.suite != suite })
		}
	}
}
