package policy

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"sallyport/nat"
)

// TestARepeatIsTheSameByteForByte: under the Call-ID, CSeq and branch of an admitted request nothing else passes: another
// sent-by or From tag makes it a request of its own to whoever comes behind, and another guess.
func TestARepeatIsTheSameByteForByte(t *testing.T) {
	g := newGuard(t, scarce("*"))
	first := msg{method: "REGISTER", extra: "Authorization: Digest nonce=\"n\", response=\"1\"\r\n"}
	wantSays(t, send(g, noon, outsidePhones, phone, first.bytes()), "allow allow")
	wantSays(t, send(g, noon, outsidePhones, phone, first.bytes()), "allow live-dialog")
	for n := range 5 {
		other := first
		other.extra = fmt.Sprintf("Authorization: Digest nonce=\"n\", response=\"%d\"\r\n", 2+n)
		wantSays(t, send(g, noon, outsidePhones, phone, other.bytes()), "drop limit-exceeded")
	}
	wantSays(t, send(g, noon, outsidePhones, phone, first.bytes()), "allow live-dialog")
}

// TestNothingIsRepeatedOnAStream: a transaction over TCP ends with its answer (RFC 3261 §17.2.2), so a request that comes again
// is a new one.
func TestNothingIsRepeatedOnAStream(t *testing.T) {
	g := newGuard(t, scarce("*"))
	stream := *outsidePhones
	stream.Transport = nat.TCP
	wantSays(t, send(g, noon, &stream, phone, msg{method: "REGISTER"}.bytes()), "allow allow")
	wantSays(t, send(g, noon, &stream, phone, msg{method: "REGISTER"}.bytes()), "reject 503 limit-exceeded")
}

// TestARegisterIsInNoDialog: whoever has one call may not send REGISTERs without end under its tag.
func TestARegisterIsInNoDialog(t *testing.T) {
	g := newGuard(t, scarce("*"))
	g.Live().Add("our1", netip.MustParseAddr("198.51.100.7"))
	wantSays(t, send(g, noon, outsidePhones, phone, msg{method: "INFO", toTag: "our1"}.bytes()), "allow live-dialog")
	wantSays(t, send(g, noon, outsidePhones, phone, msg{method: "REGISTER", toTag: "our1"}.bytes()), "allow allow")
	wantSays(t, send(g, noon, outsidePhones, phone, msg{method: "REGISTER", toTag: "our1", branch: "z9hG4bK2"}.bytes()), "drop limit-exceeded")
}

// TestForgedAnswersStarveNobody: who forges both a stranger's REGISTER and its answer, and so has not seen the nonce, takes
// nothing of what honest answers pass by.
func TestForgedAnswersStarveNobody(t *testing.T) {
	g := newGuard(t, &Config{Phones: PhonesConfig{Registrar: true}, Strangers: StrangersConfig{Rate: "1/day", Burst: ptr(40)}})
	honest := "192.0.2.77"
	wantSays(t, send(g, noon, outsidePhones, honest, msg{method: "REGISTER"}.bytes()), "allow allow")
	g.Challenged(noon, addrPort(honest), "h")
	forged := 0
	for n := range 100 {
		source := fmt.Sprintf("198.18.0.%d", n)
		if send(g, noon, outsidePhones, source, msg{method: "REGISTER", branch: "z9hG4bKa"}.bytes()).Action != Allow {
			continue
		}
		g.Challenged(noon, addrPort(source), fmt.Sprint("n", n))
		answer := msg{method: "REGISTER", branch: "z9hG4bKb", cseq: 2, extra: "Authorization: Digest nonce=\"guess\"\r\n"}
		if send(g, noon, outsidePhones, source, answer.bytes()).Action == Allow {
			forged++
		}
	}
	if forged > 20 {
		t.Errorf("%d forged answers passed", forged)
	}
	answer := msg{method: "REGISTER", branch: "z9hG4bK2", cseq: 2, extra: "Authorization: Digest nonce=\"h\"\r\n"}
	wantSays(t, send(g, noon, outsidePhones, honest, answer.bytes()), "allow allow")
}

// TestAnOfficeThatComesBackIsStillAnOffice: all its bindings have ended, and the first to come back has a wrong password. His
// flow pays for it and not the address, or nobody else could register any more.
func TestAnOfficeThatComesBackIsStillAnOffice(t *testing.T) {
	for _, office := range []string{"192.0.2.50", "2001:db8:5::50"} {
		g := newGuard(t, &Config{Phones: PhonesConfig{Registrar: true}})
		a := netip.MustParseAddr(office)
		for range 10 {
			g.AddPhone(a)
		}
		g.Tick(noon.Add(time.Minute))
		for range 10 {
			g.RemovePhone(a)
		}
		now := noon.Add(2 * time.Minute)
		wrong := netip.AddrPortFrom(a, 40_001)
		for n := range 8 {
			g.Outcome(now, Outcome{Source: wrong, Transport: nat.TCP, AoR: "209@example.com", Kind: WrongDigest, CallID: "w", CSeq: uint32(n)})
		}
		if list := g.Bans().List(now); len(list) != 1 || !list[0].narrow() {
			t.Errorf("%s: %+v", office, list)
		}
		wantSays(t, send(g, now, outsidePhones, netip.AddrPortFrom(a, 40_002).String(), msg{method: "REGISTER"}.bytes()), "allow allow")
	}
}

// TestAlarmOfWhatIsMetWithSilence: a rule that raises an alarm is heard of whatever becomes of the message behind it.
func TestAlarmOfWhatIsMetWithSilence(t *testing.T) {
	g := newGuard(t, &Config{MessageRules: []MessageRuleConfig{{Name: "odd", Methods: []string{"OPTIONS"}, Action: "alarm"}}})
	v := send(g, noon, outsidePhones, "192.0.2.66", msg{method: "OPTIONS"}.bytes())
	wantSays(t, v, "drop stranger")
	if v.Alarm < 0 {
		t.Error("no alarm")
	}
}

// TestWhyNamesARuleOnWhatNoRecordHolds: a rule on the Request-URI or on what is no SIP is named, and what is proposed helps.
func TestWhyNamesARuleOnWhatNoRecordHolds(t *testing.T) {
	rule := MessageRuleConfig{Name: "no such number", RequestURI: []PatternConfig{{Match: "sip:100", Mode: "prefix"}}, Action: "reject"}
	c := &Config{MessageRules: []MessageRuleConfig{rule}}
	g := newGuard(t, c)
	wantSays(t, send(g, noon, outsidePhones, phone, msg{}.bytes()), "reject 403 message-rule")
	x := g.Explain(noon, addrPort(phone).Addr())
	if x.Allowed || x.Now.Rule == nil || x.Now.Rule.Name != rule.Name || x.Now.Code != 403 || len(x.Fix) != 1 ||
		!strings.HasPrefix(x.Fix[0], "add before policy.message_rules[0]: { range: 198.51.100.7, action: allow }") {
		t.Errorf("%s", x.Text(time.UTC))
	}
	c.MessageRules = []MessageRuleConfig{{Range: []string{"198.51.100.7"}, Action: "allow"}, rule}
	wantSays(t, send(newGuard(t, c), noon, outsidePhones, phone, msg{}.bytes()), "allow allow")
	g.SetRules(noon, compile(t, &Config{}))
	if x = g.Explain(noon, addrPort(phone).Addr()); !x.Allowed {
		t.Errorf("the rule is gone:\n%s", x.Text(time.UTC))
	}

	g = newGuard(t, &Config{RateLimits: []RateLimitConfig{{Name: "junk", Limits: map[string]string{"unparseable": "1/minute"}, Burst: ptr(1)}}})
	for n := range 3 {
		send(g, noon, outsidePhones, phone, msg{extra: "Content-Length: 99\r\n", callID: fmt.Sprint(n)}.bytes())
	}
	x = g.Explain(noon, addrPort(phone).Addr())
	if x.Allowed || x.Now.Rule == nil || x.Now.Rule.Name != "junk" || len(x.Fix) != 1 || !strings.Contains(x.Fix[0], "breaks RFC 3261") {
		t.Errorf("%s", x.Text(time.UTC))
	}
}

// TestEvidenceLeavesRoomForBansByHand: an attacker with ever new addresses fills no table that the operator needs.
func TestEvidenceLeavesRoomForBansByHand(t *testing.T) {
	g := newGuard(t, &Config{})
	for n := range 3 * small.Bans {
		for cseq := range 4 {
			g.Outcome(noon, Outcome{Source: netip.AddrPortFrom(addr4(uint32(n)), 5060), Transport: nat.TCP, AoR: "204@example.com",
				Kind: WrongDigest, CallID: fmt.Sprint(n), CSeq: uint32(cseq)})
		}
	}
	if n := g.Bans().Len(); n < small.Bans*3/4 {
		t.Errorf("only %d bans", n)
	}
	must(t, g.Bans().Add(noon, Ban{Prefix: netip.MustParsePrefix("198.18.0.0/15")}))
}

// TestASlowBucketHoldsItsBurst, though it would take three thousand years to fill.
func TestASlowBucketHoldsItsBurst(t *testing.T) {
	alone(t)
	const burst = 1_000_000
	var d debt
	z := size{Rate{1, 24 * time.Hour}.PerSecond(), burst}
	for n := range burst {
		if !d.take(time.Hour, z) {
			t.Fatalf("only %d of %d", n, burst)
		}
	}
	if d.take(time.Hour, z) {
		t.Error("one more")
	}
	if bad := (&Config{RateLimits: []RateLimitConfig{{Limits: map[string]string{"*": "1/day"}, Burst: ptr(1 << 62)}}}).Validate(); bad == nil {
		t.Error("a burst that no number of phones can be multiplied with is taken")
	}
}

// TestNoCommandIsMadeOfWhatAStrangerWrote: the name of a user whose password is guessed is his who guesses.
func TestNoCommandIsMadeOfWhatAStrangerWrote(t *testing.T) {
	for user, want := range map[string]bool{"204": true, "a.b-c": true, "$(reboot)": false, "204|sh": false, "-rf": false, "`id`": false} {
		g := newGuard(t, &Config{Phones: PhonesConfig{Registrar: true}})
		for n := range 8 {
			g.Outcome(noon, Outcome{Source: netip.AddrPortFrom(addr4(uint32(n%2)), 5060), Transport: nat.TCP, AoR: user + "@example.com",
				Kind: WrongDigest, CallID: fmt.Sprint(n), CSeq: 1})
		}
		from := strings.Replace(string(msg{method: "REGISTER"}.bytes()), "sip:204@", "sip:"+user+"@", 1)
		send(g, noon, outsidePhones, "192.0.2.99", []byte(from))
		x := g.Explain(noon, netip.MustParseAddr("192.0.2.99"))
		text := x.Text(time.UTC)
		if !strings.Contains(text, "slowed") || strings.Contains(text, "sbc bans remove "+user) != want {
			t.Errorf("%s\n%s", user, text)
		}
	}
}
