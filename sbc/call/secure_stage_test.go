package call

import (
	"encoding/base64"
	"fmt"
	"strings"

	"sallyport/media/sdp"
	"sallyport/sbc/tu"
)

// sealedHop gives a hop a setting of SRTP; "sealed" is a phone whose SRTP is optional and whose last call was SRTP, "keyed" one
// that had it by DTLS, "checked" by DTLS and with ICE.
func sealedHop(h tu.Hop, setting string) tu.Hop {
	if h, is := ruled(h, setting); is {
		return h
	}
	s, known := map[string]tu.SRTP{
		"off": tu.SRTPOff, "optional": tu.SRTPOptional, "required": tu.SRTPRequired, "sealed": tu.SRTPOptional,
		"keyed": tu.SRTPOptional, "checked": tu.SRTPOptional,
	}[setting]
	if !known {
		panic("no setting " + setting)
	}
	h.Peer.Media.SRTP, h.Peer.Keyed, h.Peer.Checked = s, setting == "keyed" || setting == "checked", setting == "checked"
	if h.Peer.Sealed = setting == "sealed" || h.Peer.Keyed; h.Peer.Keyed {
		h.Peer.Profile = "UDP/TLS/RTP/SAVP"
	}
	return h
}

// sealLines are a=crypto lines of peers, sealProtocols those of m= lines: words among the formats of describe.
var (
	sealLines = map[string]string{
		"seal":    "1 AES_CM_128_HMAC_SHA1_80 inline:" + peerKey(30, 's'),
		"newseal": "1 AES_CM_128_HMAC_SHA1_80 inline:" + peerKey(30, 'n'),
		"forked":  "1 AES_CM_128_HMAC_SHA1_80 inline:" + peerKey(30, 'f'),
		"short":   "2 AES_CM_128_HMAC_SHA1_32 inline:" + peerKey(30, 'h'),
		"gcm":     "7 AEAD_AES_256_GCM inline:" + peerKey(44, 'g'),
		"unknown": "8 F8_128_HMAC_SHA1_80 inline:" + peerKey(30, 'u'),
	}
	sealProtocols = map[string]string{
		"savp": "RTP/SAVP", "savpf": "RTP/SAVPF", "avpf": "RTP/AVPF", "dtls": "UDP/TLS/RTP/SAVPF", "dtls2": "UDP/TLS/RTP/SAVPF", "tls": "UDP/TLS/RTP/SAVP",
		"data": "UDP/DTLS/SCTP",
	}
)

// peerKey is a key of a peer, which shows its letter.
func peerKey(n int, letter byte) string {
	return base64.StdEncoding.EncodeToString([]byte(strings.Repeat(string(letter), n)))
}

// describeSeal is the protocol of an m= line and its lines of keys.
func describeSeal(spec string) (proto, keys string) {
	proto = "RTP/AVP"
	for f := range strings.SplitSeq(spec, "+") {
		if p := sealProtocols[f]; p != "" {
			proto = p
		}
		if f == "dtls" {
			keys += "a=fingerprint:sha-256 " + strings.Repeat("AB:", 31) + "AB\r\n"
		}
		if k := sealLines[f]; k != "" {
			keys += "a=crypto:" + k + "\r\n"
		}
	}
	return proto, keys
}

// keyName is what a key is called in the file: that of a peer by its letter, ours in order of appearance.
func (p *player) keyName(key []byte) string {
	for name, line := range sealLines {
		if strings.HasSuffix(line, ":"+base64.StdEncoding.EncodeToString(key)) {
			return name
		}
	}
	return p.name(base64.StdEncoding.EncodeToString(key), 'K')
}

// sealText is a stream's protocol, if it is another than usual, and its keys.
func (p *player) sealText(s *sdp.Session, i int) (text string) {
	if proto := s.At(i).Proto; proto != "RTP/AVP" {
		text = " " + proto
	}
	for _, c := range s.Cryptos(i) {
		text += fmt.Sprintf(" {%s %s}", c, p.keyName(c.Key))
	}
	return text
}

func (p *player) cryptoText(c tu.Crypto) string {
	if c.Suite == tu.NoCrypto {
		return ""
	}
	n := sdp.KeyLen(suiteName(c.Suite))
	return fmt.Sprintf(" %s:%s/%s", suiteName(c.Suite), p.keyName(c.Receive[:n]), p.keyName(c.Send[:n]))
}

// pointed checks that a leg of which SRTP is required is never plain, and that RTCP tells nobody who is there: by one key in
// all streams of the call, however often they are changed.
func (s *stage) pointed(a tu.Point) {
	s.t.Helper()
	if a.Aim.CNAMEs != s.c.cnames || a.Aim.CNAMEs == (tu.CNAMEKey{}) {
		s.errorf("RTCP of stream %d tells who is %s", a.Stream, a.Side)
	}
	for _, h := range []tu.Hop{s.hop[caller], s.called} {
		if h.Peer == nil || h.Peer.Side != a.Side || h.Peer.Media.SRTP != tu.SRTPRequired {
			continue
		}
		if x := &a.Aim; (x.Send || x.Receive) && !x.Opaque && x.Crypto.Suite == tu.NoCrypto && x.Peer.Role == tu.NoDTLS {
			s.errorf("SRTP is required %s, and stream %d is plain", a.Side, a.Stream)
		}
	}
}
