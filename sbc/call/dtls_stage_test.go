package call

import (
	"fmt"
	"strings"

	"sallyport/media/sdp"
	"sallyport/sbc/tu"
)

// gatePrint is the fingerprint of our certificate on the stage.
var gatePrint = func() (p tu.Fingerprint) {
	p.Hash = tu.SHA256
	for i := range 32 {
		p.Value[i] = 0x11
	}
	return p
}()

// webLines are lines of peers that have handshakes and checks: words among the formats of describe. Those of webHead stand
// in the session's part.
var (
	webLines = map[string][]string{
		"actpass": {"setup:actpass"}, "active": {"setup:active"}, "passive": {"setup:passive"}, "holdconn": {"setup:holdconn"},
		"print": {"fingerprint:sha-256 " + pairs("AB", 32)}, "print2": {"fingerprint:sha-256 " + pairs("CD", 32)}, "dtls2": {"fingerprint:sha-256 " + pairs("CD", 32)},
		"sha1": {"fingerprint:sha-1 " + pairs("AB", 20)}, "sha512": {"fingerprint:sha-512 " + pairs("AB", 64)},
		"ice": iceOf("peer"), "ice2": iceOf("anew"), "mux": {"rtcp-mux"}, "bundleonly": {"bundle-only"},
		"mid0": {"mid:0"}, "mid1": {"mid:1"}, "mida": {"mid:a"},
		"chatter": {
			"extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level", "rtcp-fb:0 nack", "rtcp-rsize", "msid:m t", "ssrc:7 cname:x",
			"rtcp:9 IN IP4 0.0.0.0", "tls-id:0123456789abcdef0123", "crypto-nonsense", "rid:h send", "simulcast:send h", "ssrc-group:FID 7 8",
		},
	}
	webHead = map[string][]string{
		"lite": {"ice-lite"}, "bundle": {"group:BUNDLE 0 1", "msid-semantic: WMS *", "extmap-allow-mixed"}, "headprint": {"fingerprint:sha-256 " + pairs("AB", 32), "setup:actpass"},
	}
)

func pairs(one string, n int) string { return strings.TrimSuffix(strings.Repeat(one+":", n), ":") }

func iceOf(fragment string) []string {
	return []string{
		"ice-ufrag:" + fragment, "ice-pwd:" + fragment + "0123456789abcdef01", "ice-options:trickle",
		"candidate:1 1 UDP 2130706431 192.168.1.5 4000 typ host", "end-of-candidates",
	}
}

// describeWeb are the lines of a stream's words, and those of the session.
func describeWeb(spec string) (head, stream string) {
	for f := range strings.SplitSeq(spec, "+") {
		for _, l := range webHead[f] {
			head += "a=" + l + "\r\n"
		}
		for _, l := range webLines[f] {
			stream += "a=" + l + "\r\n"
		}
	}
	return head, stream
}

func webWord(f string) bool { return webLines[f] != nil || webHead[f] != nil }

// webLeaks are what never passes from one leg to the other.
var webLeaks = []string{
	"AB:AB:AB", "CD:CD:CD", "ufrag:peer", "ufrag:anew", "ice-options", "msid", "ssrc:7", "tls-id", "rid:h", "simulcast", "rtcp-rsize", "extmap", "bundle-only",
}

// certificateName is what the certificate of a peer is called by its first byte, and ours.
func certificateName(hash string, value []byte) string {
	if value[0] == 0x11 {
		return "ours"
	}
	if hash == "sha-256" {
		return fmt.Sprintf("%X", value[0])
	}
	return fmt.Sprintf("%X(%s)", value[0], hash)
}

// webText is how a stream gets to its peer, if by a handshake.
func (p *player) webText(s *sdp.Session, i int, body []byte) (text string) {
	if f, ok := s.Fingerprint(i); ok {
		text += fmt.Sprintf(" dtls:%s:%s", s.Setup(i), certificateName(f.Hash, f.Value))
	}
	if c, ok := s.ICE(i); ok {
		text += " ice:" + p.name(c.Fragment+c.Password, 'U')
	}
	at := -1
	for line := range strings.Lines(string(body)) {
		line = strings.TrimRight(line, "\r\n")
		if strings.HasPrefix(line, "m=") {
			at++
		}
		candidate, is := strings.CutPrefix(line, "a=candidate:")
		if is && at == i {
			f := strings.Fields(candidate)
			text += fmt.Sprintf(" at:%s:%s", f[4], f[5])
		}
	}
	text += conditionText(i, body)
	if s.At(i).Mux {
		text += " mux"
	}
	if mid := s.Mid(i); mid != "" {
		text += " mid:" + mid
		if s.Bundled(i) {
			text += "(bundle)"
		}
	}
	return text
}

// shakeText is what the relay is told of a leg's handshake.
func (p *player) shakeText(a tu.Aim) (text string) {
	if a.ICE != (tu.ICE{}) {
		text += " ice:" + p.name(string(a.ICE.Fragment[:])+string(a.ICE.Password[:]), 'U')
	}
	if a.Peer.Role != tu.NoDTLS {
		hash := [...]string{"", "sha-256", "sha-384", "sha-512"}[a.Peer.Print.Hash]
		text += fmt.Sprintf(" dtls:%s:%s", [...]string{"", "we-wait", "we-begin"}[a.Peer.Role], certificateName(hash, a.Peer.Print.Value[:]))
	}
	if a.Mux {
		text += " mux"
	}
	return text
}
