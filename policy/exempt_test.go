package policy

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// guarded is a guard whose limits are one request of each kind a day, so that every second one shows whether it was charged.
func guarded(t testing.TB) *Guard {
	return newGuard(t, &Config{Phones: PhonesConfig{Registrar: true}, Strangers: StrangersConfig{Rate: "1/day", Burst: ptr(3)},
		RateLimits: []RateLimitConfig{{Limits: map[string]string{"*": "1/day"}, Burst: ptr(1)}}})
}

// TestNothingThatAScannerCanFakeExempts: what an honest phone is not charged for, sent by somebody to whom it does not
// belong.
func TestNothingThatAScannerCanFakeExempts(t *testing.T) {
	const attacker, victim = "192.0.2.66", phone
	for _, c := range []struct {
		name string
		m    msg
	}{
		{"a repeat of another source's request", msg{callID: "seen@phone", branch: "z9hG4bKseen", cseq: 7}},
		{"a To-tag that is not ours", msg{method: "BYE", toTag: "theirs"}},
		{"a To-tag like ours, not live", msg{method: "BYE", toTag: "our-guess"}},
		{"a live dialog of another source", msg{method: "BYE", toTag: "our-live"}},
		{"a CANCEL of another source's INVITE", msg{method: "CANCEL", callID: "live@phone", branch: "z9hG4bKlive"}},
		{"an ACK of another source's INVITE", msg{method: "ACK", callID: "live@phone", branch: "z9hG4bKlive"}},
		{"an ACK of nothing", msg{method: "ACK", toTag: "our-guess"}},
		{"credentials that nobody asked for", msg{method: "REGISTER", extra: "Authorization: Digest nonce=\"n\"\r\n"}},
		{"credentials for another source's challenge", msg{method: "REGISTER", extra: "Authorization: Digest nonce=\"asked\"\r\n"}},
		{"proxy credentials", msg{extra: "Proxy-Authorization: Digest nonce=\"asked\"\r\n"}},
		{"all at once", msg{method: "BYE", callID: "seen@phone", branch: "z9hG4bKseen", cseq: 7, toTag: "our-live", extra: "Authorization: Digest nonce=\"asked\"\r\n"}},
	} {
		g := guarded(t)
		send(g, noon, outsidePhones, victim, msg{callID: "seen@phone", branch: "z9hG4bKseen", cseq: 7}.bytes())
		g.Live().Add("our-live", addrPort(victim).Addr())
		g.Live().AddInvite("live@phone", "z9hG4bKlive", addrPort(victim).Addr())
		g.Challenged(noon, addrPort(victim), "asked")
		send(g, noon, outsidePhones, attacker, msg{method: "OPTIONS", branch: "z9hG4bKfirst"}.bytes()) // the one of the day
		for n := range 3 {
			at := noon.Add(time.Duration(n) * time.Second)
			if v := send(g, at, outsidePhones, attacker, c.m.bytes()); v.Action == Allow || v.Reason != "limit-exceeded" {
				t.Errorf("%s: message %d meets %q", c.name, n, says(v))
			}
		}
		// To whom it belongs it is no more and no less than before.
		if v := send(g, noon.Add(time.Second), outsidePhones, victim, msg{method: "BYE", toTag: "our-live"}.bytes()); says(v) != "allow live-dialog" {
			t.Errorf("%s: the victim's BYE meets %q", c.name, says(v))
		}
	}
}

// TestRepeatsEnd: repeats of an admitted request are free, but not without end.
func TestRepeatsEnd(t *testing.T) {
	g := guarded(t)
	free := 0
	for n := range 100 {
		if send(g, noon.Add(time.Duration(n)*100*time.Millisecond), outsidePhones, phone, msg{}.bytes()).Action == Allow {
			free++
		}
	}
	if free != 1+mostRepeats {
		t.Errorf("%d of 100 passed, want 1 + %d", free, mostRepeats)
	}
}

// TestGuessingPasswordsIsLimited: each wrong password is answered with another challenge, and its answer is free no more
// often than requests are.
func TestGuessingPasswordsIsLimited(t *testing.T) {
	for _, rules := range [][]RateLimitConfig{ShippedRateLimits(), {}} {
		g := newGuard(t, &Config{Phones: PhonesConfig{Registrar: true}, RateLimits: rules, Bans: BansConfig{Points: ptr(0)},
			Strangers: StrangersConfig{Rate: "2/second", Burst: ptr(10)}})
		passed := 0
		for n := range 6000 { // ten minutes, ten a second
			now := noon.Add(time.Duration(n) * 100 * time.Millisecond)
			m := msg{method: "REGISTER", callID: "guess", cseq: n + 1, branch: fmt.Sprint("z9hG4bK", n),
				extra: fmt.Sprintf("Authorization: Digest nonce=\"n%d\"\r\n", n)}
			if send(g, now, outsidePhones, "192.0.2.66", m.bytes()).Action == Allow {
				passed++
				g.Challenged(now, addrPort("192.0.2.66"), fmt.Sprint("n", n+1))
			}
		}
		most := 2 * (15*10 + 4) // twice the limit: once as a request, once as an answer
		if len(rules) == 0 {
			most = 2 * (2*600 + 10) // the strangers' budget, likewise
		}
		if passed > most+2 || passed < most/2-2 {
			t.Errorf("%d rules: %d of 6000 guesses passed, at most %d may", len(rules), passed, most)
		}
	}
}

// TestAnswersAreNotChargedToAnHonestPhone: any run of registrations, each challenged once, costs one message each, so that
// a phone that keeps within the limit always passes whole.
func TestAnswersAreNotChargedToAnHonestPhone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := newGuard(&testing.T{}, &Config{Phones: PhonesConfig{Registrar: true}, RateLimits: ShippedRateLimits()})
		now := noon
		for n := range rapid.IntRange(1, 30).Draw(t, "registrations") {
			now = now.Add(time.Duration(rapid.IntRange(4000, 9000).Draw(t, "pause")) * time.Millisecond) // 15 a minute or slower
			for answer, extra := range []string{"", fmt.Sprintf("Authorization: Digest nonce=\"n%d\"\r\n", n)} {
				m := msg{method: "REGISTER", callID: "honest", cseq: 2*n + answer + 1, branch: fmt.Sprint("z9hG4bK", n, "-", answer), extra: extra}
				if v := send(g, now, outsidePhones, "192.0.2.77", m.bytes()); v.Action != Allow {
					t.Fatalf("registration %d, answer %d: %q", n, answer, says(v))
				}
				if answer == 0 {
					g.Challenged(now, addrPort("192.0.2.77"), fmt.Sprint("n", n))
				}
			}
		}
	})
}

// TestDebtFollowsAPhoneFromStranger: what an address sent before it had registered is owed afterwards, too.
func TestDebtFollowsAPhoneFromStranger(t *testing.T) {
	g := newGuard(t, &Config{Phones: PhonesConfig{Registrar: true}, RateLimits: []RateLimitConfig{{Limits: map[string]string{"REGISTER": "1/day"}, Burst: ptr(4)}}})
	if n := passing(g, noon, outsidePhones, "192.0.2.77", "REGISTER", 3); n != 3 {
		t.Fatal(n)
	}
	g.AddPhone(netip.MustParseAddr("192.0.2.77"))
	if n := passing(g, noon, outsidePhones, "192.0.2.77", "REGISTER", 9); n != 1 {
		t.Errorf("%d more pass, want 1", n)
	}
}
