package media

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"testing"
)

// plainly is SRTP as the standards write it down, with nothing but the standard library, slowly: what the engine's packets
// are held against. It is itself held against the vectors of RFC 3711 appendix B, RFC 6188 §7 and RFC 7714 §16, §17.
type plainly struct {
	suite                               Suite
	key, salt, auth                     []byte
	controlKey, controlSalt, controlMAC []byte
}

// derive is the AES-CM PRF (RFC 3711 §4.3.3, RFC 6188 §3).
func derive(master, salt []byte, label byte, n int) []byte {
	iv := make([]byte, 16)
	copy(iv, salt)
	iv[7] ^= label
	b, _ := aes.NewCipher(master)
	out := make([]byte, n)
	cipher.NewCTR(b, iv).XORKeyStream(out, out)
	return out
}

func newPlainly(suite Suite, master [maxKey]byte) *plainly {
	t := &suiteTable[suite]
	k, s := master[:t.key], master[t.key:t.key+t.salt]
	return &plainly{
		suite, derive(k, s, 0, t.key), derive(k, s, 2, t.salt), derive(k, s, 1, 20),
		derive(k, s, 3, t.key), derive(k, s, 5, t.salt), derive(k, s, 4, 20),
	}
}

// crypt is AES in counter mode (RFC 3711 §4.1.1).
func crypt(key, salt []byte, ssrc uint32, index uint64, b []byte) {
	iv := make([]byte, 16)
	copy(iv, salt)
	var x [16]byte
	binary.BigEndian.PutUint32(x[4:], ssrc)
	x[8], x[9], x[10], x[11], x[12], x[13] = byte(index>>40), byte(index>>32), byte(index>>24), byte(index>>16), byte(index>>8), byte(index)
	for i := range iv {
		iv[i] ^= x[i]
	}
	block, _ := aes.NewCipher(key)
	cipher.NewCTR(block, iv).XORKeyStream(b, b)
}

// nonce is the IV of AES-GCM (RFC 7714 §8.1, §9.1).
func nonce(salt []byte, ssrc uint32, index uint64) []byte {
	iv := make([]byte, 12)
	binary.BigEndian.PutUint32(iv[2:], ssrc)
	iv[6], iv[7], iv[8], iv[9], iv[10], iv[11] = byte(index>>40), byte(index>>32), byte(index>>24), byte(index>>16), byte(index>>8), byte(index)
	for i := range iv {
		iv[i] ^= salt[i]
	}
	return iv
}

func gcm(key []byte) cipher.AEAD {
	block, _ := aes.NewCipher(key)
	a, _ := cipher.NewGCM(block)
	return a
}

func mac(key []byte, n int, parts ...[]byte) []byte {
	h := hmac.New(sha1.New, key)
	h.Write(bytes.Join(parts, nil))
	return h.Sum(nil)[:n]
}

// rtp protects a packet with a header of n bytes.
func (p *plainly) rtp(packet []byte, n int, roc uint32) []byte {
	b := bytes.Clone(packet)
	ssrc, index := binary.BigEndian.Uint32(b[8:]), uint64(roc)<<16|uint64(binary.BigEndian.Uint16(b[2:]))
	if suiteTable[p.suite].control == 0 {
		return gcm(p.key).Seal(b[:n:n], nonce(p.salt, ssrc, index), b[n:], b[:n])
	}
	crypt(p.key, p.salt, ssrc, index, b[n:])
	return append(b, mac(p.auth, suiteTable[p.suite].tag, b, binary.BigEndian.AppendUint32(nil, roc))...)
}

func (p *plainly) rtcp(packet []byte, index uint32) []byte {
	b := bytes.Clone(packet)
	ssrc, word := binary.BigEndian.Uint32(b[4:]), binary.BigEndian.AppendUint32(nil, index|1<<31)
	if suiteTable[p.suite].control == 0 {
		return append(gcm(p.controlKey).Seal(b[:8:8], nonce(p.controlSalt, ssrc, uint64(index)), b[8:], append(bytes.Clone(b[:8]), word...)), word...)
	}
	crypt(p.controlKey, p.controlSalt, ssrc, uint64(index), b[8:])
	b = append(b, word...)
	return append(b, mac(p.controlMAC, 10, b)...)
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		panic(err)
	}
	return b
}

func TestTheOracleKnowsTheStandards(t *testing.T) {
	is := func(what string, got []byte, want string) {
		if !bytes.Equal(got, unhex(want)) {
			t.Errorf("%s: %x, want %s", what, got, want)
		}
	}
	// RFC 3711 appendix B.3, RFC 6188 §7.2.
	k, s := unhex("E1F97A0D3E018BE0D64FA32C06DE4139"), unhex("0EC675AD498AFEEBB6960B3AABE6")
	is("B.3 key", derive(k, s, 0, 16), "C61E7A93744F39EE10734AFE3FF7A087")
	is("B.3 salt", derive(k, s, 2, 14), "30CBBC08863D8C85D49DB34A9AE1")
	is("B.3 auth", derive(k, s, 1, 20), "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4")
	k, s = unhex("f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b6"), unhex("3b04803de51ee7c96423ab5b78d2")
	is("6188 key", derive(k, s, 0, 32), "5ba1064e30ec51613cad926c5a28ef731ec7fb397f70a960653caf06554cd8c4")
	is("6188 salt", derive(k, s, 2, 14), "fa31791685ca444a9e07c6c64e93")
	is("6188 auth", derive(k, s, 1, 20), "fd9c32d39ed5fbb5a9dc96b30818454d1313dc05")
	// RFC 3711 appendix B.2, RFC 6188 §7.1: SSRC and index are zero.
	for key, stream := range map[string]string{
		"2B7E151628AED2A6ABF7158809CF4F3C":                                 "E03EAD0935C95E80E166B16DD92B4EB4 D23513162B02D0F72A43A2FE4A5F97AB",
		"57f82fe3613fd170a85ec93c40b1f0922ec4cb0dc025b58272147cc438944a98": "92bdd28a93c3f52511c677d08b5515a4 9da71b2378a854f67050756ded165bac",
	} {
		b := make([]byte, 32)
		crypt(unhex(key), unhex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD"), 0, 0, b)
		is("keystream", b, stream)
	}
	// RFC 7714 §16.1.1, §17.1.
	p := &plainly{suite: AEADAES128GCM}
	p.key, p.salt = unhex("000102030405060708090a0b0c0d0e0f"), unhex("51756964 2070726f 2071756f")
	p.controlKey, p.controlSalt = p.key, p.salt
	is("7714 SRTP", p.rtp(unhex(`8040f17b 8041f8d3 5501a0b2 47616c6c 69612065 7374206f 6d6e6973 20646976 69736120 696e2070
		61727465 73207472 6573`), 12, 0), `8040f17b 8041f8d3 5501a0b2 f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f
		42a5f47a 51c7d19b 36de3adf 8833899d 7f27beb1 6a9152cf 765ee439 0cce`)
	is("7714 SRTCP", p.rtcp(unhex(`81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61 deadbeef deadbeef
		deadbeef deadbeef deadbeef`), 0x5d4), `81c8000d 4d617273 63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d
		c676a5f1 730d6fda 4ce09b46 86303ded 0bb9275b c84aa458 96cf4d2f c5abf872 45d9eade 800005d4`)
}
