package call

import (
	"fmt"
	"testing"

	"sallyport/sbc/header"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// TestStrangersSeeAChallengeInThePlaceOfARefusal: the one that the PBX showed last, whoever it was for; who is registered, and
// who brings credentials, sees none. The record says what the caller heard.
func TestStrangersSeeAChallengeInThePlaceOfARefusal(t *testing.T) {
	decoys := &header.Decoys{}
	ask := func(stranger bool, extra, answer string) (*message.Message, tu.CDR) {
		s := newStage(t, "phone1")
		if stranger {
			peer := *s.hop[caller].Peer
			peer.Name, peer.Token, peer.AoRs, peer.Stranger = "", "", nil, true
			s.hop[caller].Peer = &peer
		}
		s.c.set.Decoys = decoys
		p := &player{t: t, stage: s, names: map[string]string{}}
		p.event("a INVITE sdp=audio:4000" + extra)
		p.event("routed pbx1")
		p.event("reserved 1")
		return find[tu.Respond](t, p.event("b "+answer)).Msg, p.records[0]
	}
	const signed = ` Proxy-Authorization=Digest_username="204",nonce="0a1b2c3d"`
	if m, _ := ask(true, "", "404"); m.Status != 403 {
		t.Errorf("before any challenge: %s", m)
	}
	real, _ := ask(false, "", `407 Proxy-Authenticate=Digest_realm="example.com",nonce="0a1b2c3d" Supported=replaces`)
	for _, code := range []int{403, 404, 410, 480, 604} {
		m, r := ask(true, "", fmt.Sprint(code)+" Reason=SIP;text=nobody")
		value, _ := m.Get("Proxy-Authenticate")
		was, _ := real.Get("Proxy-Authenticate")
		if m.Status != 407 || m.Reason != real.Reason || len(m.Headers) != len(real.Headers) || len(value) != len(was) || value == was || m.To.Tag == "" {
			t.Errorf("%d becomes\n%s", code, m)
		}
		if r.Code != 407 || r.AoR != "" {
			t.Errorf("record %+v", r)
		}
		if m, _ := ask(true, signed, fmt.Sprint(code)); m.Status != 403 || len(m.Headers) != 0 {
			t.Errorf("%d with credentials becomes\n%s", code, m)
		}
		if m, _ := ask(false, "", fmt.Sprint(code)); m.Status != code {
			t.Errorf("a phone hears %d in the place of %d", m.Status, code)
		}
	}
	if m, _ := ask(true, "", "486"); m.Status != 486 {
		t.Errorf("busy tells nothing, and becomes\n%s", m)
	}
}
