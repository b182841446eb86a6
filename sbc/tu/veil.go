package tu

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
)

// Veils hide ids of the inside from phones, each from each: an id becomes a word that only the same phone can have turned back
// into it. Nothing is stored; the word is always the same for the same phone and id, over a restart too, for it comes of a key
// that is kept. Without the key nobody can read or make one: it is the id under AES in counter mode, whose counter begins at a
// keyed hash of phone and id, which stands in front (a synthetic IV, RFC 5297 §2.6, cut to 80 bits). It belongs to one
// goroutine at a time, as its NameKey does.
type Veils struct {
	names *NameKey
	block cipher.Block
	parts [2]string
}

const (
	veilMark  = 10        // bytes of the hash
	veiledMax = 160       // bytes of an id that comes back; what is longer gets a word that stands for nothing
	veilKind  = "veil"    // of the hash
	cipherKey = "unveils" // of the key of the cipher
)

// NewVeils makes the veils of a key.
func NewVeils(names *NameKey) *Veils {
	b, err := aes.NewCipher(names.of(cipherKey, nil)[:16])
	if err != nil {
		panic(err) // 16 bytes are always a key
	}
	return &Veils{names: names, block: b}
}

// mark is the keyed hash of phone and id, good until the next use of the key. The phone is named by its canonical address-of-record:
// users whose names differ in case alone are two (RFC 3261 §19.1.4), and the host is written in one way.
func (v *Veils) mark(aor, id string) []byte {
	v.parts = [2]string{aor, id}
	return v.names.of(veilKind, v.parts[:])[:veilMark]
}

// Veil hides an id from a phone: letters and digits alone, that a Call-ID and a tag may hold. An empty id stays empty.
func (v *Veils) Veil(aor, id string) string {
	if id == "" {
		return ""
	}
	raw := make([]byte, veilMark, veilMark+len(id))
	copy(raw, v.mark(aor, id))
	if len(id) > veiledMax {
		return encodeLong(raw)
	}
	raw = append(raw, id...)
	v.mask(raw)
	return encodeLong(raw)
}

// Unveil is the id behind a veil of the same phone; ok is false for any other text.
func (v *Veils) Unveil(aor, veiled string) (id string, ok bool) {
	n := len(veiled) * 5 / 8
	if n <= veilMark || n > veilMark+veiledMax || (n*8+4)/5 != len(veiled) {
		return "", false
	}
	raw := make([]byte, n)
	if !decode(raw, []byte(veiled)) {
		return "", false
	}
	v.mask(raw)
	id = string(raw[veilMark:])
	if subtle.ConstantTimeCompare(v.mark(aor, id), raw[:veilMark]) != 1 {
		return "", false
	}
	return id, true
}

// mask covers or uncovers what stands behind the mark.
func (v *Veils) mask(raw []byte) {
	var counter [aes.BlockSize]byte
	copy(counter[:], raw[:veilMark])
	cipher.NewCTR(v.block, counter[:]).XORKeyStream(raw[veilMark:], raw[veilMark:])
}

// encodeLong is encode for what is longer than an id of ours.
func encodeLong(raw []byte) string {
	out := make([]byte, 0, (len(raw)*8+4)/5)
	for len(raw) > 20 { // whole letters
		out = append(out, encode("", raw[:20])...)
		raw = raw[20:]
	}
	return string(append(out, encode("", raw)...))
}
