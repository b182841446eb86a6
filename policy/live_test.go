package policy

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// scarce lets one message of a method through and no more.
func scarce(methods ...string) *Config {
	limits := map[string]string{}
	for _, m := range methods {
		limits[m] = "1/day"
	}
	return &Config{RateLimits: []RateLimitConfig{{Limits: limits, Burst: ptr(1)}}}
}

const phone = "198.51.100.7:40122"

func TestRepeatsOfAdmittedRequestsAreNotCharged(t *testing.T) {
	g := newGuard(t, scarce("*"))
	first := msg{method: "REGISTER"}.bytes()
	wantSays(t, send(g, noon, outsidePhones, phone, first), "allow allow")
	for n := range mostRepeats {
		wantSays(t, send(g, noon.Add(time.Duration(n)*time.Second), outsidePhones, phone, first), "allow live-dialog")
	}
	wantSays(t, send(g, noon.Add(13*time.Second), outsidePhones, phone, first), "drop limit-exceeded")
}

func TestOnlyTheSameRequestFromTheSameAddressIsARepeat(t *testing.T) {
	for name, c := range map[string]struct {
		source string
		m      msg
		after  time.Duration
		repeat bool
	}{
		"same":                 {phone, msg{method: "REGISTER"}, 0, true},
		"other port":           {"198.51.100.7:9", msg{method: "REGISTER"}, 0, true},
		"last moment":          {phone, msg{method: "REGISTER"}, 31999 * time.Millisecond, true},
		"too late":             {phone, msg{method: "REGISTER"}, 32 * time.Second, false},
		"much too late":        {phone, msg{method: "REGISTER"}, time.Hour, false},
		"other Call-ID":        {phone, msg{method: "REGISTER", callID: "x"}, 0, false},
		"other CSeq":           {phone, msg{method: "REGISTER", cseq: 2}, 0, false},
		"other branch":         {phone, msg{method: "REGISTER", branch: "z9hG4bK2"}, 0, false},
		"other method":         {phone, msg{method: "INVITE"}, 0, false},
		"CANCEL of a REGISTER": {phone, msg{method: "CANCEL"}, 0, false},
	} {
		g := newGuard(t, scarce("*"))
		wantSays(t, send(g, noon, outsidePhones, phone, msg{method: "REGISTER"}.bytes()), "allow allow")
		v := send(g, noon.Add(c.after), outsidePhones, c.source, c.m.bytes())
		if got := v.Action == Allow; got != c.repeat {
			t.Errorf("%s: %s", name, says(v))
		}
	}
	// A stranger who repeats a trunk's request is still a stranger.
	g := newGuard(t, &Config{})
	wantSays(t, send(g, noon, outsideTrunks, "203.0.113.20", msg{}.bytes()), "allow allow")
	wantSays(t, send(g, noon, outsideTrunks, "192.0.2.66", msg{}.bytes()), "drop unknown-trunk")
}

func TestRepeatsOfRefusedRequestsAreJudgedAnew(t *testing.T) {
	g := newGuard(t, scarce("INVITE"))
	send(g, noon, outsidePhones, phone, msg{branch: "z9hG4bKa"}.bytes())
	for range 3 {
		wantSays(t, send(g, noon, outsidePhones, phone, msg{branch: "z9hG4bKb"}.bytes()), "drop limit-exceeded")
	}
}

func TestCancelAndAckOfAnAdmittedInvite(t *testing.T) {
	g := newGuard(t, scarce("*", "INVITE"))
	wantSays(t, send(g, noon, outsidePhones, phone, msg{}.bytes()), "allow allow")
	wantSays(t, send(g, noon, outsidePhones, phone, msg{}.bytes()), "allow live-dialog") // its own twelve
	for range mostRepeats / 2 {
		wantSays(t, send(g, noon, outsidePhones, phone, msg{method: "CANCEL"}.bytes()), "allow live-dialog")
		wantSays(t, send(g, noon, outsidePhones, phone, msg{method: "ACK", toTag: "refused"}.bytes()), "allow live-dialog")
	}
	wantSays(t, send(g, noon, outsidePhones, phone, msg{}.bytes()), "drop limit-exceeded") // nothing is repeated behind its ACK
	wantSays(t, send(g, noon, outsidePhones, phone, msg{method: "CANCEL"}.bytes()), "allow allow")
	wantSays(t, send(g, noon, outsidePhones, phone, msg{method: "CANCEL", cseq: 2}.bytes()), "drop limit-exceeded")
	wantSays(t, send(g, noon, outsidePhones, "192.0.2.66", msg{method: "CANCEL"}.bytes()), "drop stranger")
}

func TestCancelOfAnInviteThatRangForMinutes(t *testing.T) {
	g := newGuard(t, scarce("*"))
	late := noon.Add(3 * time.Minute)
	send(g, late, outsidePhones, phone, msg{method: "INFO", branch: "z9hG4bKspent"}.bytes()) // the bucket is empty
	cancel := msg{method: "CANCEL"}.bytes()
	wantSays(t, send(g, late, outsidePhones, phone, cancel), "drop limit-exceeded")
	if !g.Live().AddInvite("c1@far", "z9hG4bK1", netip.MustParseAddr("198.51.100.7")) {
		t.Fatal("no room")
	}
	for range 40 {
		wantSays(t, send(g, late, outsidePhones, phone, cancel), "allow live-dialog")
	}
	wantSays(t, send(g, late, outsidePhones, "192.0.2.66", cancel), "drop stranger")
	g.Live().RemoveInvite("c1@far", "z9hG4bK1")
	wantSays(t, send(g, late, outsidePhones, phone, cancel), "drop limit-exceeded")
}

func TestRequestsOfALiveDialogFromItsLeg(t *testing.T) {
	g := newGuard(t, scarce("*"))
	leg := netip.MustParseAddr("192.0.2.50")
	g.Live().Add("our1", leg)
	g.Live().Add("alien", leg)
	for _, c := range []struct{ source, tag, want string }{
		{"192.0.2.50:1", "our1", "allow live-dialog"},
		{"192.0.2.50:2", "our1", "allow live-dialog"},
		{"[::ffff:192.0.2.50]:2", "our1", "allow live-dialog"},
		{"192.0.2.51:1", "our1", "drop stranger"},
		{"192.0.2.50:1", "our2", "drop stranger"},
		{"192.0.2.50:1", "alien", "drop limit-exceeded"}, // in the set, but no tag of ours
		{"192.0.2.50:1", "", "drop limit-exceeded"},
	} {
		for _, method := range []string{"BYE", "ACK", "INFO"} {
			v := send(g, noon, outsidePhones, c.source, msg{method: method, toTag: c.tag}.bytes())
			if c.want == "drop limit-exceeded" && v.Action == Drop {
				continue
			}
			wantSays(t, v, c.want)
			if c.want == "drop stranger" {
				break // its bucket is empty from here on
			}
		}
	}
	// A response is no request of the dialog; a malformed request is none either.
	wantSays(t, send(g, noon, outsidePhones, "192.0.2.50", msg{status: 200, toTag: "our1"}.bytes()), "drop stranger")
	wantSays(t, send(g, noon, outsidePhones, "192.0.2.50", msg{toTag: "our1", extra: "Content-Length: 9\r\n"}.bytes()), "drop malformed")
	g.Live().Remove("our1")
	v := send(g, noon, outsidePhones, "192.0.2.50", msg{method: "BYE", toTag: "our1", branch: "z9hG4bKlate"}.bytes())
	if v.Action == Allow {
		t.Error("a dead dialog lets requests pass")
	}
}

// TestTheByeOfADialogIsRepeated: the dialog is gone, and its answer was lost.
func TestTheByeOfADialogIsRepeated(t *testing.T) {
	for _, kind := range []*Config{{}, scarce("*")} {
		g := newGuard(t, kind)
		leg := netip.MustParseAddr("192.0.2.50")
		bye := msg{method: "BYE", toTag: "our1", cseq: 2, branch: "z9hG4bKbye"}.bytes()
		g.Live().Add("our1", leg)
		wantSays(t, send(g, noon, outsidePhones, "192.0.2.50:1", bye), "allow live-dialog")
		g.Live().Remove("our1")
		for n := range mostRepeats {
			wantSays(t, send(g, noon.Add(time.Duration(n)*time.Second), outsidePhones, "192.0.2.50:1", bye), "allow live-dialog")
		}
		for name, m := range map[string][]byte{
			"once more": bye, "another one": msg{method: "BYE", toTag: "our1", cseq: 3, branch: "z9hG4bKnext"}.bytes(),
			"another request": msg{method: "INFO", toTag: "our1", cseq: 2, branch: "z9hG4bKbye"}.bytes(),
		} {
			if v := send(g, noon.Add(13*time.Second), outsidePhones, "192.0.2.50:1", m); v.Action == Allow {
				t.Errorf("%s: %s", name, says(v))
			}
		}
	}
}

func TestLiveSetIsBounded(t *testing.T) {
	g := newGuard(t, &Config{})
	l, a := g.Live(), netip.MustParseAddr("192.0.2.1")
	for n := range small.Live {
		if !l.Add(fmt.Sprint("tag", n), a) {
			t.Fatalf("full at %d", n)
		}
	}
	if l.Add("one more", a) || l.AddInvite("c", "b", a) || l.Len() != small.Live {
		t.Errorf("it grew to %d", l.Len())
	}
	if !l.Add("tag3", a) || l.Len() != small.Live {
		t.Error("the same tag again needs no room")
	}
	for n := range small.Live {
		l.Remove(fmt.Sprint("tag", n))
		l.Remove(fmt.Sprint("tag", n))
	}
	if l.Len() != 0 {
		t.Errorf("%d left", l.Len())
	}
}

func TestOneRequestForEachChallenge(t *testing.T) {
	g := newGuard(t, &Config{
		Phones: PhonesConfig{Registrar: true}, Strangers: StrangersConfig{Rate: "1/day", Burst: ptr(4)},
		RateLimits: []RateLimitConfig{{Limits: map[string]string{"REGISTER": "1/day"}, Burst: ptr(4)}},
	})
	plain := func(n int) []byte { return msg{method: "REGISTER", branch: fmt.Sprint("z9hG4bKp", n)}.bytes() }
	answer := func(n int) []byte {
		return msg{method: "REGISTER", branch: fmt.Sprint("z9hG4bKa", n), extra: "Authorization: Digest nonce=\"n\"\r\n"}.bytes()
	}
	source := netip.MustParseAddr("192.0.2.66")
	for n := range 4 {
		wantSays(t, send(g, noon, outsidePhones, "192.0.2.66", plain(10+n)), "allow allow")
	}
	wantSays(t, send(g, noon, outsidePhones, "192.0.2.66", answer(0)), "drop limit-exceeded")
	g.Challenged(noon, netip.AddrPortFrom(source, 5060), "n")
	wantSays(t, send(g, noon, outsidePhones, "192.0.2.67", answer(1)), "drop strangers-budget")
	wantSays(t, send(g, noon, outsidePhones, "192.0.2.66", plain(1)), "drop limit-exceeded")
	wantSays(t, send(g, noon, outsidePhones, "192.0.2.66:99", answer(2)), "allow allow")
	wantSays(t, send(g, noon, outsidePhones, "192.0.2.66", answer(3)), "drop limit-exceeded")
	// They add up, and they end.
	g.Challenged(noon, netip.AddrPortFrom(source, 5060), "n")
	g.Challenged(noon.Add(time.Second), addrPort("::ffff:192.0.2.66"), "n")
	wantSays(t, send(g, noon.Add(2*time.Second), outsidePhones, "192.0.2.66", answer(4)), "allow allow")
	wantSays(t, send(g, noon.Add(3*time.Second), outsidePhones, "192.0.2.66", answer(5)), "allow allow")
	wantSays(t, send(g, noon.Add(4*time.Second), outsidePhones, "192.0.2.66", answer(6)), "drop limit-exceeded")
	g.Challenged(noon.Add(5*time.Second), netip.AddrPortFrom(source, 5060), "n")
	wantSays(t, send(g, noon.Add(40*time.Second), outsidePhones, "192.0.2.66", answer(7)), "drop limit-exceeded")
	// It spares from charges only.
	g.Challenged(noon.Add(time.Minute), netip.AddrPortFrom(source, 5060), "n")
	must(t, g.Bans().Add(noon, Ban{Prefix: BanPrefix(source)}))
	wantSays(t, send(g, noon.Add(time.Minute), outsidePhones, "192.0.2.66", answer(8)), "drop ban")
}

func TestAgedTableKeepsTheYoungest(t *testing.T) {
	var table agedTable
	table.init(10*time.Second, agedWays) // one set in each generation
	for n := range uint64(agedWays + 2) {
		table.add(time.Duration(n)*time.Millisecond, 2*n+1, uint16(n))
	}
	has := func(now time.Duration, n uint64) bool {
		return table.with(now, 2*n+1, func(*agedKey) bool { return true })
	}
	for n := range uint64(agedWays + 2) {
		if want := n >= 2; has(10*time.Millisecond, n) != want {
			t.Errorf("key %d known: %v", n, !want)
		}
	}
	// The next generation has its own room; the old keys live out their time.
	for n := uint64(100); n < 104; n++ {
		table.add(10001*time.Millisecond, 2*n+1, 0)
	}
	if !has(10001*time.Millisecond, 5) || !has(10002*time.Millisecond, 100) || has(10*time.Second+5*time.Millisecond, 5) {
		t.Error("generations do not keep apart")
	}
	table.add(20*time.Second, 2*500+1, 0)
	if has(20*time.Second, 100) == false || has(20001*time.Millisecond, 100) {
		t.Error("the second generation's keys do not live ten seconds")
	}
}

// TestAnswersToALiveDialog: a phone whose registration has lapsed in mid-call still answers the BYE.
func TestAnswersToALiveDialog(t *testing.T) {
	g := newGuard(t, scarce("*"))
	g.Live().Add("our1", netip.MustParseAddr("192.0.2.50"))
	answer := func(fromTag string) []byte {
		return bytes.Replace(msg{status: 200, toTag: "far1"}.bytes(), []byte("tag=far1"), []byte("tag="+fromTag), 1)
	}
	for _, c := range []struct{ source, from, want string }{
		{"192.0.2.50:1", "our1", "allow live-dialog"},
		{"192.0.2.50:2", "our1", "allow live-dialog"},
		{"192.0.2.51:1", "our1", "drop stranger"},
		{"192.0.2.50:1", "our2", "drop stranger"},
		{"192.0.2.50:1", "far1", "drop stranger"},
	} {
		wantSays(t, send(g, noon, outsidePhones, c.source, answer(c.from)), c.want)
	}
	g.Live().Remove("our1")
	wantSays(t, send(g, noon, outsidePhones, "192.0.2.50:1", answer("our1")), "drop stranger")
}
