package policy

import (
	"bytes"
	"fmt"
	"testing"
	"time"
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

// TestEmergencyCallsAreBounded: what is over their bucket is a call like any other, and neither refused for that nor in the way
// of a neighbour.
func TestEmergencyCallsAreBounded(t *testing.T) {
	one := 1
	g := newGuard(t, &Config{Emergency: []string{"112"}, RateLimits: []RateLimitConfig{{Name: "tight", Limits: map[string]string{"*": "1/day"}, Burst: &one}}})
	registerPhones(g, "198.51.100.77", 3)
	serial := 0
	calls := func(now time.Time, source string, n int) (passed int) {
		for range n {
			serial++
			m := msg{callID: fmt.Sprint("e", serial), branch: fmt.Sprint("z9hG4bKe", serial)}
			if send(g, now, outsidePhones, source, bytes.Replace(m.bytes(), []byte("sip:100@"), []byte("sip:112@"), 1)).Action == Allow {
				passed++
			}
		}
		return passed
	}
	trial := msg{callID: "trial", branch: "z9hG4bKtrial"}.bytes()
	trial = bytes.Replace(trial, []byte("sip:100@"), []byte("sip:112@"), 1)
	try := func(want string) {
		t.Helper()
		for range 30 { // charges nothing
			x := g.Try(noon, &Packet{Now: noon, Interface: outsidePhones, Source: addrPort("198.51.100.7"), Data: trial, View: scanned(trial)})
			if x.Steps[1].Found != want {
				t.Fatalf("%q, want %q", x.Steps[1].Found, want)
			}
		}
	}
	try("an emergency call of a known peer: exempt from limits, countries")
	for _, c := range []struct {
		after  time.Duration
		source string
		want   int
	}{
		{0, "198.51.100.7", 10 + 1}, // the last one is within the limit of any call
		{0, "198.51.100.77", 30 + 1},
		{time.Second, "198.51.100.7", 2},
		{time.Second, "198.51.100.77", 6},
		{10 * time.Second, "198.51.100.7", 10},
		{0, "198.51.100.66", 0}, // a stranger
	} {
		if n := calls(noon.Add(c.after), c.source, 100); n != c.want {
			t.Errorf("%s after %s: %d of 100 pass, want %d", c.source, c.after, n, c.want)
		}
		if c.after == 0 && c.source == "198.51.100.7" {
			try("an emergency call of a known peer, but over 2/second burst 10: a call like any other")
		}
	}
	wide := newGuard(t, &Config{Emergency: []string{"112"}})
	if g = wide; calls(noon, "198.51.100.7", 500) != 500 {
		t.Error("where no limit is, an emergency call is refused for being one too many")
	}
}
