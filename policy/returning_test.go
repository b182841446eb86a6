package policy

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"sallyport/nat"
)

// TestAnOfficeComesBackWhileTheWorldKnocks: phones whose bindings lapsed do not stand in the queue of all strangers.
func TestAnOfficeComesBackWhileTheWorldKnocks(t *testing.T) {
	g := newGuard(t, registrar())
	const office = "198.51.100.77"
	registerPhones(g, office, 50)
	for range 50 {
		g.RemovePhone(netip.MustParseAddr(office))
	}
	now := noon.Add(9 * time.Minute)
	flood := 0
	for n := range uint32(1000) { // the world uses its budget up
		flood += passing(g, now, outsidePhones, netip.AddrPortFrom(addr4(0x40000000+n), 5060).String(), "REGISTER", 1)
	}
	if flood != defaultStrangersBurst {
		t.Errorf("%d of the world's REGISTERs pass", flood)
	}
	x := g.Try(now, &Packet{Now: now, Interface: outsidePhones, Source: addrPort(office), Data: msg{method: "REGISTER"}.bytes(),
		View: scanned(msg{method: "REGISTER"}.bytes())})
	if want := "of those whose phones were registered lately: 50/second burst 100, 100.0 left"; x.Steps[8].Found != want || x.Action != "allow" {
		t.Errorf("%s: %q, want %q", x.Action, x.Steps[8].Found, want)
	}
	// With credentials, and where malformed messages are answered: one queue for all that an address asks.
	if n := passing(g, now, outsidePhones, office, "REGISTER", 150); n != 100 {
		t.Errorf("%d of the office's 150 REGISTERs pass, want the size of the budget", n)
	}
	wantSays(t, send(g, now, outsidePhones, office, msg{method: "REGISTER", callID: "over", branch: "z9hG4bKover"}.bytes()), "drop strangers-budget")
	if fix := strings.Join(explainOf(g, now, office).Fix, "; "); !strings.Contains(fix, "registered lately share a budget of their own") {
		t.Errorf("fix: %s", fix)
	}
	g.Challenged(now, addrPort(office), "n")
	answer := msg{method: "REGISTER", callID: "answer", branch: "z9hG4bKa", extra: "Authorization: Digest nonce=\"n\"\r\n"}
	wantSays(t, send(g, now, outsidePhones, office, answer.bytes()), "allow allow")
	// Ten minutes later the office is a stranger like any other.
	late := noon.Add(crowdLife)
	for n := range uint32(1000) {
		passing(g, late, outsidePhones, netip.AddrPortFrom(addr4(0x50000000+n), 5060).String(), "REGISTER", 1)
	}
	if n := passing(g, late, outsidePhones, office, "REGISTER", 50); n != 0 {
		t.Errorf("%d REGISTERs pass", n)
	}
}

// TestAReloadKeepsWhatTheBudgetsOwe, and a trial takes nothing.
func TestAReloadKeepsWhatTheBudgetsOwe(t *testing.T) {
	g := newGuard(t, registrar())
	registerPhones(g, "198.51.100.77", 1)
	g.RemovePhone(netip.MustParseAddr("198.51.100.77"))
	for _, source := range []string{"198.51.100.77", "192.0.2.66"} {
		if n := passing(g, noon, outsidePhones, source, "REGISTER", 300); n != 100 {
			t.Errorf("%s: %d", source, n)
		}
	}
	g.SetRules(noon, compile(t, &Config{Phones: PhonesConfig{Registrar: true}, RateLimits: []RateLimitConfig{}}))
	for _, source := range []string{"198.51.100.77", "192.0.2.66"} {
		if n := passing(g, noon, outsidePhones, source, "REGISTER", 300); n != 0 {
			t.Errorf("%s: %d more after a reload", source, n)
		}
	}
}

// TestALimitIsNoSilenceOnAStream: a phone that is known hears when to come back where nothing is sent again; over UDP, as a
// stranger, and where the rule bans, there is silence.
func TestALimitIsNoSilenceOnAStream(t *testing.T) {
	const known, stranger = "198.51.100.7", "192.0.2.66"
	for _, c := range []struct {
		transport nat.Transport
		source    string
		action    string
		method    string
		want      string
		retry     bool
	}{
		{nat.UDP, known, "", "REGISTER", "drop limit-exceeded", false},
		{nat.TCP, known, "", "REGISTER", "reject 503 limit-exceeded", true},
		{nat.TLS, known, "drop", "INVITE", "reject 503 limit-exceeded", true},
		{nat.WSS, known, "drop", "MESSAGE", "reject 503 limit-exceeded", true},
		{nat.TLS, known, "drop", "ACK", "drop limit-exceeded", false}, // RFC 3261 §17.1.1.3
		{nat.TLS, known, "ban", "REGISTER", "drop limit-exceeded", false},
		{nat.TLS, stranger, "drop", "REGISTER", "drop limit-exceeded", false},
	} {
		g := newGuard(t, &Config{Phones: PhonesConfig{Registrar: true}, RateLimits: []RateLimitConfig{{Name: "tight", Limits: map[string]string{"*": "2/minute"},
			Burst: ptr(1), Action: c.action}}})
		i := &nat.Interface{Side: nat.Outside, Realm: nat.Phones, Transport: c.transport}
		var v Verdict
		for n := range 2 {
			v = send(g, noon, i, c.source, msg{method: c.method, callID: fmt.Sprint("c", n), branch: fmt.Sprint("z9hG4bK", n)}.bytes())
		}
		if says(v) != c.want || (v.RetryAfter == 30) != c.retry || !c.retry && v.RetryAfter != 0 {
			t.Errorf("%s %s %s %q: %s, Retry-After %d", c.source, c.transport, c.method, c.action, says(v), v.RetryAfter)
		}
	}
}
