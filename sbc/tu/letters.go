package tu

import "math/bits"

// The alphabet of ids: base 32 without letters that are misread. Every one is a token's in every header field.
const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"

// notALetter marks the bytes outside the alphabet.
const notALetter = 0xff

var values = func() (v [256]byte) {
	for i := range v {
		v[i] = notALetter
	}
	for i := range len(alphabet) {
		v[alphabet[i]] = byte(i)
	}
	return v
}()

// encode writes up to 20 bytes behind a prefix, most significant bit first, without padding.
func encode(prefix string, raw []byte) string {
	var out [48]byte
	n := copy(out[:], prefix)
	var acc, have uint
	for _, b := range raw {
		acc, have = acc<<8|uint(b), have+8
		for have >= 5 {
			have -= 5
			out[n] = alphabet[acc>>have&31]
			n++
		}
	}
	if have > 0 {
		out[n] = alphabet[acc<<(5-have)&31]
		n++
	}
	return string(out[:n])
}

// decode reads what encode wrote; it reports false for letters outside the alphabet and for bits beyond the last byte.
func decode(raw, text []byte) bool {
	var acc, have uint
	for _, c := range text {
		v := values[c]
		if v == notALetter {
			return false
		}
		acc, have = acc<<5|uint(v), have+5
		if have >= 8 {
			have -= 8
			raw[0] = byte(acc >> have)
			raw = raw[1:]
		}
	}
	return acc&(1<<have-1) == 0
}

// sipHash is SipHash-2-4 of one 64-bit word, a keyed hash for short inputs that a guard can afford for each packet.
func sipHash(k0, k1, word uint64) uint64 {
	v := [4]uint64{k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d, k0 ^ 0x6c7967656e657261, k1 ^ 0x7465646279746573}
	for _, m := range [...]uint64{word, 8 << 56} { // the last block is the length in bytes
		v[3] ^= m
		sipRound(&v)
		sipRound(&v)
		v[0] ^= m
	}
	v[2] ^= 0xff
	for range 4 {
		sipRound(&v)
	}
	return v[0] ^ v[1] ^ v[2] ^ v[3]
}

func sipRound(v *[4]uint64) {
	v[0] += v[1]
	v[2] += v[3]
	v[1] = bits.RotateLeft64(v[1], 13) ^ v[0]
	v[3] = bits.RotateLeft64(v[3], 16) ^ v[2]
	v[0] = bits.RotateLeft64(v[0], 32)
	v[2] += v[1]
	v[0] += v[3]
	v[1] = bits.RotateLeft64(v[1], 17) ^ v[2]
	v[3] = bits.RotateLeft64(v[3], 21) ^ v[0]
	v[2] = bits.RotateLeft64(v[2], 32)
}
