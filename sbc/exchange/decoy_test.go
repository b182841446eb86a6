package exchange

import (
	"fmt"
	"testing"

	"sallyport/sbc/header"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// TestStrangersSeeAChallengeInThePlaceOfARefusal: the one that the PBX showed last, whoever it was for; who is registered, and
// who brings credentials, sees none.
func TestStrangersSeeAChallengeInThePlaceOfARefusal(t *testing.T) {
	decoys := &header.Decoys{}
	ask := func(from, extra, answer string) *message.Message {
		p := &player{t: t, stage: newStage(t, from), names: map[string]string{}}
		p.e.set.Decoys = decoys
		p.event("a MESSAGE" + extra)
		p.event("routed node1")
		for _, a := range p.event("b " + answer) {
			if r, ok := a.(tu.Respond); ok {
				return r.Msg
			}
		}
		t.Fatalf("no answer to %s", answer)
		return nil
	}
	signed := " Proxy-Authorization=Digest_username=\"204\",nonce=\"0a1b2c3d\""
	const text = " text=hi"
	if m := ask("stranger1", text, "404"); m.Status != 403 {
		t.Errorf("before any challenge: %s", m)
	}
	real := ask("phone1", text, `407 Proxy-Authenticate=Digest_realm="example.com",nonce="0a1b2c3d" Supported=path`)
	for _, code := range []int{403, 404, 410, 480, 604} {
		m := ask("stranger1", text, fmt.Sprint(code)+" Reason=SIP;text=nobody")
		value, _ := m.Get("Proxy-Authenticate")
		was, _ := real.Get("Proxy-Authenticate")
		if m.Status != 407 || m.Reason != real.Reason || len(m.Headers) != len(real.Headers) || len(value) != len(was) || value == was || m.To.Tag == "" {
			t.Errorf("%d becomes\n%s", code, m)
		}
		if m := ask("stranger1", text+signed, fmt.Sprint(code)); m.Status != 403 || len(m.Headers) != 0 {
			t.Errorf("%d with credentials becomes\n%s", code, m)
		}
		if m := ask("phone1", text, fmt.Sprint(code)); m.Status != code {
			t.Errorf("a phone hears %d in the place of %d", m.Status, code)
		}
	}
	if m := ask("stranger1", text, "486"); m.Status != 486 {
		t.Errorf("busy tells nothing, and becomes\n%s", m)
	}
}
