package sbc_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	pionrtp "github.com/pion/rtp"
	"github.com/pion/srtp/v3"

	"sallyport/nat/natlab"
)

// sealed is a peer's side of SRTP: how it describes its audio, and what it does with packets.
type sealed struct {
	profile string // of its m= line; RTP/AVP without a suite: it has none
	suite   string // "" none
	letter  byte   // its key

	in, out *srtp.Context // what it hears, what it says
}

var keyLens = map[string][2]int{"AES_CM_128_HMAC_SHA1_80": {16, 14}, "AES_CM_128_HMAC_SHA1_32": {16, 14}, "AEAD_AES_256_GCM": {32, 12}}

var suiteProfiles = map[string]srtp.ProtectionProfile{
	"AES_CM_128_HMAC_SHA1_80": srtp.ProtectionProfileAes128CmHmacSha1_80, "AES_CM_128_HMAC_SHA1_32": srtp.ProtectionProfileAes128CmHmacSha1_32,
	"AEAD_AES_256_GCM": srtp.ProtectionProfileAeadAes256Gcm,
}

func (s *sealed) context(t *testing.T, key []byte) *srtp.Context {
	t.Helper()
	n := keyLens[s.suite]
	c, err := srtp.CreateContext(key[:n[0]], key[n[0]:n[0]+n[1]], suiteProfiles[s.suite])
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (s *sealed) key() []byte {
	return bytes.Repeat([]byte{s.letter}, keyLens[s.suite][0]+keyLens[s.suite][1])
}

// describe is its description.
func (s *sealed) describe(addr netip.Addr, port int) []byte {
	text := strings.Replace(string(sdpAt(addr, port)), "RTP/AVP", s.profile, 1)
	if s.suite != "" {
		text += "a=crypto:1 " + s.suite + " inline:" + base64.StdEncoding.EncodeToString(s.key()) + "\r\n"
	}
	return []byte(text)
}

var cryptoLine = regexp.MustCompile(`a=crypto:(\d+) (\S+) inline:(\S+)`)

// hears takes the gate's key from what it was shown.
func (s *sealed) hears(t *testing.T, shown []byte) {
	t.Helper()
	lines := cryptoLine.FindAllStringSubmatch(string(shown), -1)
	profile := regexp.MustCompile(`m=audio \d+ (\S+) `).FindStringSubmatch(string(shown))
	if len(profile) != 2 || profile[1] != s.profile {
		t.Fatalf("want profile %s:\n%s", s.profile, shown)
	}
	if s.suite == "" {
		if len(lines) > 0 {
			t.Fatalf("keys for a peer that has none:\n%s", shown)
		}
		return
	}
	if len(lines) != 1 || lines[0][1] != "1" || lines[0][2] != s.suite {
		t.Fatalf("want one key, of %s:\n%s", s.suite, shown)
	}
	key, err := base64.StdEncoding.DecodeString(lines[0][3])
	if err != nil {
		t.Fatal(err)
	}
	s.in, s.out = s.context(t, key), s.context(t, s.key())
}

// says protects a packet, understands opens one.
func (s *sealed) says(t *testing.T, plain []byte, control bool) []byte {
	t.Helper()
	if s.suite == "" {
		return plain
	}
	do := s.out.EncryptRTP
	if control {
		do = func(dst, plain []byte, _ *pionrtp.Header) ([]byte, error) { return s.out.EncryptRTCP(dst, plain, nil) }
	}
	b, err := do(nil, plain, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (s *sealed) understands(t *testing.T, b []byte, control bool) []byte {
	t.Helper()
	if s.suite == "" {
		return b
	}
	do := s.in.DecryptRTP
	if control {
		do = func(dst, b []byte, _ *pionrtp.Header) ([]byte, error) { return s.in.DecryptRTCP(dst, b, nil) }
	}
	plain, err := do(nil, b, nil)
	if err != nil {
		t.Errorf("not understood: %v", err)
	}
	return plain
}

// TestSRTPInAllCombinations: each leg has its own protection, whatever the other one has.
func TestSRTPInAllCombinations(t *testing.T) {
	trunks := map[string]sealed{
		"off": {profile: "RTP/AVP"}, "optional": {profile: "RTP/AVP"}, "optional ": {profile: "RTP/SAVP", suite: "AES_CM_128_HMAC_SHA1_80"},
		"required": {profile: "RTP/SAVP", suite: "AES_CM_128_HMAC_SHA1_32"}, "required ": {profile: "RTP/SAVP", suite: "AEAD_AES_256_GCM"},
		"optional  ": {profile: "RTP/AVP", suite: "AES_CM_128_HMAC_SHA1_80"},
	}
	nodes := map[string]sealed{
		"off": {profile: "RTP/AVP"}, "optional": {profile: "RTP/AVP"}, "required": {profile: "RTP/SAVP", suite: "AES_CM_128_HMAC_SHA1_80"},
	}
	for outer, outside := range trunks {
		for inner, inside := range nodes {
			outside := outside
			outside.letter, inside.letter = 'o', 'i'
			t.Run(fmt.Sprintf("trunk %s %s, pbx %s", strings.TrimSpace(outer), outside.suite, inner), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { sealedCall(t, strings.TrimSpace(outer), inner, &outside, &inside) })
			})
		}
	}
}

func sealedCall(t *testing.T, outer, inner string, outside, inside *sealed) {
	config := rewritten(t, labConfig, "keepalive: { method: none }", "keepalive: { method: none }\n    srtp: "+outer,
		"health: { interval: 0 }", "health: { interval: 0 }\n  srtp: "+inner)
	l := newGate(t, config, natlab.Options{Seed: 1})
	defer l.close()
	itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
	c := l.talk(itsp, pbx, trunkSocket, outside.describe(providerAt.Addr(), 4000), inside.describe(pbxAt.Addr(), 4002))
	outside.hears(t, c.shown[0])
	inside.hears(t, c.shown[1])
	doors := [2]netip.AddrPort{told(t, c.shown[0], 0), told(t, c.shown[1], 0)}
	peers, at := [2]*sealed{outside, inside}, [2]netip.AddrPort{providerSound, pbxSound}
	pass := func(from int, plain []byte, control bool) {
		t.Helper()
		l.sounds.drain()
		door, source, leaves, to := doors[from], at[from], doors[1-from], at[1-from]
		if control {
			door, source, leaves, to = above(door), above(source), above(leaves), above(to)
		}
		l.relay.Inject(door, source, peers[from].says(t, plain, control))
		got := l.sounds.drain()
		if len(got) != 1 || got[0].from != leaves || got[0].to != to {
			t.Fatalf("from %d: %v", from, addrs(got))
		}
		if heard := peers[1-from].understands(t, []byte(got[0].payload), control); !bytes.Equal(heard, plain) {
			t.Errorf("from %d: heard %x, said %x", from, heard, plain)
		}
	}
	for i := range byte(20) {
		for from := range peers {
			pass(from, rtp(0, i), false)
		}
		time.Sleep(20 * time.Millisecond)
	}
	pass(0, rtcp(), true)
	pass(1, rtcp(), true)

	// Nobody without the key is heard, not even from the peer's own address, and the call goes on.
	for from, p := range peers {
		if p.suite == "" {
			continue
		}
		forged := *p
		forged.out = p.context(t, bytes.Repeat([]byte{'x'}, 64))
		for _, b := range [][]byte{rtp(0, 99), forged.says(t, rtp(0, 99), false)} {
			for range 200 {
				l.relay.Inject(doors[from], at[from], b)
			}
		}
		for range 200 {
			l.relay.Inject(above(doors[from]), above(at[from]), rtcp())
			l.relay.Inject(above(doors[from]), above(at[from]), forged.says(t, rtcp(), true))
		}
		if got := l.sounds.drain(); len(got) > 0 {
			t.Errorf("%d forged packets were passed on", len(got))
		}
	}
	pass(0, rtp(0, 100), false)
	pass(1, rtp(0, 100), false)

	hangup(c.caller, c.callee)
	time.Sleep(time.Second)
	r := l.record()
	if len(r.Media) != 1 || r.Media[0].Outside.SRTP != outside.suite || r.Media[0].Inside.SRTP != inside.suite {
		t.Errorf("media of the CDR: %+v", r.Media)
	}
	if got := r.Media[0].Outside.Packets; got != 21 {
		t.Errorf("%d packets counted outside", got)
	}
}

// TestSRTPIsNotTalkedDown: what is required is refused where it cannot be had, and says so.
func TestSRTPIsNotTalkedDown(t *testing.T) {
	for _, c := range []struct{ trunk, profile, suite, why string }{
		{"required", "RTP/AVP", "", "SRTP is required here"},
		{"off", "RTP/SAVP", "AES_CM_128_HMAC_SHA1_80", "SRTP is not taken here"},
		{"optional", "RTP/SAVP", "", "no SRTP key that can be used (a=crypto)"},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := newGate(t, rewritten(t, labConfig, "keepalive: { method: none }", "keepalive: { method: none }\n    srtp: "+c.trunk), natlab.Options{Seed: 1})
			defer l.close()
			itsp := l.wire(providerAt)
			peer := sealed{profile: c.profile, suite: c.suite, letter: 'o'}
			itsp.send(trunkSocket, withBody(itsp.request("INVITE", trunkSocket, "+4930123"), peer.describe(providerAt.Addr(), 4000)))
			final := itsp.want("488 INVITE")
			if warning, _ := final.Get("Warning"); !strings.Contains(warning, c.why) {
				t.Errorf("%s, %s: warned %q", c.trunk, c.profile, warning)
			}
		})
	}
}
