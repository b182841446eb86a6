package sdp

import (
	"encoding/hex"
	"slices"
	"strings"
)

// Fingerprint is the hash of a certificate (RFC 8122 §5).
type Fingerprint struct {
	Hash  string // sha-256, sha-384, sha-512
	Value []byte
}

// hashes are those that are good enough to vouch for somebody, the strongest last, with their length in bytes. SHA-1 and what
// came before it are not.
var hashes = []struct {
	name string
	size int
}{{"sha-256", 32}, {"sha-384", 48}, {"sha-512", 64}}

// Fingerprint is the certificate by which the peer of stream i shows who it is in a DTLS handshake: of several the
// strongest ("MUST select the strongest hash", RFC 8122 §5.1), of several that are equally strong the first. Those of the
// stream take the place of the session's. It reports false where there is none that can be checked.
func (s *Session) Fingerprint(i int) (best Fingerprint, ok bool) {
	for _, sec := range [2][]line{s.media[i], s.head} {
		at, seen := -1, false
		for _, l := range sec {
			name, v := l.attribute()
			if !strings.EqualFold(name, "fingerprint") {
				continue
			}
			seen = true
			if f, rank := parseFingerprint(v); rank > at {
				best, at = f, rank
			}
		}
		if seen {
			return best, at >= 0
		}
	}
	return best, false
}

// parseFingerprint reads "sha-256 AB:CD:…" and tells how strong the hash is, -1 where it is not to be used.
func parseFingerprint(v string) (f Fingerprint, rank int) {
	words := strings.Fields(v)
	if len(words) != 2 {
		return f, -1
	}
	rank = -1
	for r, h := range hashes {
		if strings.EqualFold(h.name, words[0]) && len(words[1]) == 3*h.size-1 {
			f.Hash, rank = h.name, r
		}
	}
	if rank < 0 {
		return f, -1
	}
	digits := make([]byte, 0, len(words[1]))
	for at := 0; at < len(words[1]); at += 3 {
		if at > 0 && words[1][at-1] != ':' {
			return f, -1
		}
		digits = append(digits, words[1][at], words[1][at+1])
	}
	value, err := hex.DecodeString(string(digits)) // RFC 8122 §5 has upper case, some have lower
	if err != nil {
		return f, -1
	}
	f.Value = value
	return f, rank
}

// String is the value of the attribute.
func (f Fingerprint) String() string {
	b := make([]byte, 0, len(f.Hash)+3*len(f.Value)+1)
	b = append(b, f.Hash...)
	for i, x := range f.Value {
		b = append(b, " :"[min(i, 1)], "0123456789ABCDEF"[x>>4], "0123456789ABCDEF"[x&15])
	}
	return string(b)
}

// Setup says who begins a handshake (RFC 4145 §4, RFC 8842 §5.2).
type Setup string

// The values. An answer has Active or Passive.
const (
	NoSetup Setup = ""
	ActPass Setup = "actpass"
	Active  Setup = "active"
	Passive Setup = "passive"
)

// Setup is that of stream i, else of the session, in lower case; it may be another value than the known ones.
func (s *Session) Setup(i int) Setup {
	v, _ := s.valueOf(i, "setup")
	return Setup(strings.ToLower(strings.TrimSpace(v)))
}

// valueOf is the value of a stream's attribute, else of the session's. Of several lines the first one counts.
func (s *Session) valueOf(i int, name string) (value string, ok bool) {
	for _, sec := range [2][]line{s.media[i], s.head} {
		for _, l := range sec {
			if n, v := l.attribute(); strings.EqualFold(n, name) {
				return v, true
			}
		}
	}
	return "", false
}

// Fingerprinted reports whether a stream has an a=fingerprint, its own or the session's, be it one that can be used.
func (s *Session) Fingerprinted(i int) bool {
	_, ok := s.valueOf(i, "fingerprint")
	return ok
}

// ByHandshake reports whether the protocol of a stream is RTP that is keyed by DTLS and by nothing else (RFC 5764 §8).
func (m *Media) ByHandshake() bool { return hasFold(m.Proto, overTLS) && m.IsRTP() }

// overTLS begins the name of such a protocol.
const overTLS = "UDP/TLS/"

// HandshakeName is the protocol of an m= line of RTP that is keyed by DTLS.
func HandshakeName(feedback bool) string { return overTLS + ProfileName(true, feedback) }

// Lines that are one peer's affair, and those of them that a handshake is about.
var (
	ownOfStream = []string{
		"fingerprint", "setup", "tls-id", "dtls-id", "connection", "identity",
		"rtcp", "rtcp-mux", "rtcp-mux-only", "rtcp-rsize", "mid", "group", "bundle-only", "msid", "msid-semantic", "ssrc", "ssrc-group", "rid",
		"simulcast", "extmap", "extmap-allow-mixed",
	}
	ownOfSession = append(slices.Clone(ownOfStream), "rtcp-fb") // which is a stream's (RFC 4585 §4.2)
	keysOfStream = []string{"fingerprint", "setup", "tls-id"}
)

func (l line) among(names []string) bool {
	name, _ := l.attribute()
	return name != "" && slices.Contains(names, strings.ToLower(name))
}
