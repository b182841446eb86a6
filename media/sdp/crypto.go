package sdp

import (
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
)

// Crypto is an a=crypto line that can be acted upon (RFC 4568 §9): one key, no MKI, nothing left unencrypted or
// unauthenticated.
type Crypto struct {
	Tag   int // 1 to 999999999, unique within the stream
	Suite string
	Key   []byte // master key and master salt, one behind the other
}

// String tells everything but the key.
func (c Crypto) String() string { return strconv.Itoa(c.Tag) + " " + c.Suite }

// suiteKeys are the suites that are known, with the length of master key and salt (RFC 4568 §6.2, RFC 6188 §4, RFC 7714
// §12).
var suiteKeys = map[string]int{
	"AES_CM_128_HMAC_SHA1_80": 30, "AES_CM_128_HMAC_SHA1_32": 30, "AES_256_CM_HMAC_SHA1_80": 46, "AES_256_CM_HMAC_SHA1_32": 46,
	"AEAD_AES_128_GCM": 28, "AEAD_AES_256_GCM": 44,
}

// KeyLen is the length of the master key with its salt of a suite, in bytes; 0: the suite is not known.
func KeyLen(suite string) int { return suiteKeys[suite] }

// Profiles of RTP that the same keys and payload types serve: RFC 3551, RFC 3711, and both with the feedback of RFC 4585
// and RFC 5124.
var profiles = [2][2]string{{"RTP/AVP", "RTP/AVPF"}, {"RTP/SAVP", "RTP/SAVPF"}}

// Profile tells a stream's profile of RTP, if it is one of the four, the secure ones with or without the prefix that says
// that a handshake keys them (RFC 5764 §8).
func (m *Media) Profile() (secure, feedback, ok bool) {
	proto := m.Proto
	if m.ByHandshake() {
		proto = proto[len(overTLS):]
	}
	for s := range profiles {
		for f, name := range profiles[s] {
			if strings.EqualFold(proto, name) && (s == 1 || proto == m.Proto) {
				return s == 1, f == 1, true
			}
		}
	}
	return false, false, false
}

// ProfileName is the protocol of an m= line.
func ProfileName(secure, feedback bool) string {
	s, f := 0, 0
	if secure {
		s = 1
	}
	if feedback {
		f = 1
	}
	return profiles[s][f]
}

// Cryptos reads the a=crypto lines of a stream that can be acted upon, in order of preference. Others are left out, as
// RFC 4568 §7.1.2 has it of what an answerer does not support, and so is a line whose tag was there before.
func (s *Session) Cryptos(i int) []Crypto {
	var out []Crypto
	tags := make(map[int]bool)
	for _, l := range s.media[i] {
		name, v := l.attribute()
		if !strings.EqualFold(name, "crypto") {
			continue
		}
		c, ok := parseCrypto(v)
		if c.Tag != 0 && tags[c.Tag] {
			continue
		}
		tags[c.Tag] = true
		if ok {
			out = append(out, c)
		}
	}
	return out
}

// parseCrypto reads "tag suite inline:key|lifetime|MKI session parameters".
func parseCrypto(v string) (c Crypto, ok bool) {
	f := strings.Fields(v)
	if len(f) < 3 || len(f[0]) > 9 || f[0][0] == '0' || f[0][0] == '+' {
		return c, false
	}
	n, err := strconv.ParseUint(f[0], 10, 32)
	if err != nil {
		return c, false
	}
	c.Tag, c.Suite = int(n), f[1]
	method, info, found := strings.Cut(f[2], ":")
	if !found || !strings.EqualFold(method, "inline") || suiteKeys[c.Suite] == 0 {
		return c, false
	}
	for _, p := range f[3:] {
		if !harmless(p) {
			return c, false
		}
	}
	key, rest, _ := strings.Cut(info, "|")
	// A master key identifier has a colon, and stands in every packet; several keys are told apart by it.
	if strings.ContainsAny(info, ":;") || rest != "" && !lifetime(rest) {
		return c, false
	}
	// "base64 encoded … concatenated master key and salt": some leave the padding out.
	raw, err := base64.RawStdEncoding.Strict().DecodeString(strings.TrimRight(key, "="))
	if err != nil || len(raw) != suiteKeys[c.Suite] || len(key)-len(strings.TrimRight(key, "=")) > 2 {
		return c, false
	}
	c.Key = raw
	return c, true
}

// lifetime reports whether text is a number of packets, "2^31" or in full. How long a key serves is its owner's affair.
func lifetime(text string) bool {
	text = strings.TrimPrefix(text, "2^")
	_, err := strconv.ParseUint(text, 10, 64)
	return err == nil && text[0] != '+'
}

// harmless reports whether a session parameter changes nothing of the packets: a window size hint, a key derivation rate
// of zero, or what may be ignored by name, "-…" (RFC 4568 §6.3).
func harmless(p string) bool {
	return hasFold(p, "WSH=") || strings.EqualFold(p, "KDR=0") || strings.HasPrefix(p, "-")
}

// Feedback reports whether a stream says what feedback it wants (RFC 4585 §4.2), without which AVPF is AVP by another name.
func (s *Session) Feedback(i int) bool {
	return slices.ContainsFunc(s.media[i], func(l line) bool {
		name, _ := l.attribute()
		return strings.EqualFold(name, "rtcp-fb")
	})
}

// DropCrypto takes every a=crypto line out, and whatever else holds keys or offers profiles besides that of the m= line. The
// keys of one leg are nobody else's affair.
func (s *Session) DropCrypto() {
	s.filter(func(l line, _ bool) bool {
		name, _ := l.attribute()
		// What RFC 5939 and RFC 6871 would negotiate besides ("acap:1 crypto:…") holds keys too, and the profile that it is
		// about is that of one leg.
		switch strings.ToLower(name) {
		case "crypto", "key-mgmt", "acap", "tcap", "pcfg", "acfg", "lcfg", "csup", "creq":
			return true
		}
		return false
	})
}

func (l line) crypto() bool {
	name, _ := l.attribute()
	return strings.EqualFold(name, "crypto")
}

// SetProtocol puts another protocol into the m= line of stream i.
func (s *Session) SetProtocol(i int, proto string) {
	l := &s.media[i][0]
	v := l.value()
	st, _ := parseStream(v)
	if st.proto == proto {
		return
	}
	at := st.portEnd + strings.Index(v[st.portEnd:], st.proto)
	l.text = "m=" + v[:at] + proto + v[at+len(st.proto):]
}

// AddCrypto writes a line of ours into stream i: before its other attributes, behind those of crypto.
func (s *Session) AddCrypto(i int, c Crypto) {
	sec := s.media[i]
	at := 1
	for at < len(sec) && (sec[at].text[0] != 'a' || sec[at].crypto()) {
		at++
	}
	text := "a=crypto:" + strconv.Itoa(c.Tag) + " " + c.Suite + " inline:" + base64.StdEncoding.EncodeToString(c.Key)
	s.media[i] = s.insert(sec, at, text)
}
