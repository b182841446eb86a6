package policy

import (
	"bytes"
	"testing"
)

// TestNothingStopsAnEmergencyCall of a known peer; the number gives nobody an identity, and no other method a way past.
func TestNothingStopsAnEmergencyCall(t *testing.T) {
	one := 1
	g := newGuard(t, &Config{
		Emergency:  []string{"112", "*110"},
		RateLimits: []RateLimitConfig{{Name: "tight", Limits: map[string]string{"*": "1/day"}, Burst: &one}},
	})
	call := func(source, method, uri, callID string) Verdict {
		data := bytes.Replace(msg{method: method, callID: callID}.bytes(), []byte(" sip:100@example.com SIP"), []byte(" "+uri+" SIP"), 1)
		return send(g, noon, outsidePhones, source, data)
	}
	const phone, stranger = "198.51.100.7", "198.51.100.66"
	wantSays(t, call(phone, "INVITE", "sip:100@example.com", "first"), "allow allow")
	wantSays(t, call(phone, "INVITE", "sip:100@example.com", "second"), "drop limit-exceeded")
	for i, uri := range []string{
		"sip:112@example.com", "SIP:112@example.com;user=phone", "sips:112;phone-context=x@example.com", "tel:112", "tel:112;phone-context=+49",
		"sip:%31%31%32@example.com", "sip:*110@example.com",
	} {
		wantSays(t, call(phone, "INVITE", uri, "emergency"+string(rune('a'+i))), "allow allow")
	}
	for i, uri := range []string{"sip:1123@example.com", "sip:112a@example.com", "sip:alice@112", "sip:example.com"} {
		wantSays(t, call(phone, "INVITE", uri, "other"+string(rune('a'+i))), "drop limit-exceeded")
	}
	wantSays(t, call(phone, "SUBSCRIBE", "sip:112@example.com", "s1"), "drop limit-exceeded")
	wantSays(t, call(stranger, "INVITE", "sip:112@example.com", "x1"), "drop not-registered")
}
