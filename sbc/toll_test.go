package sbc_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/sbc/api"
)

// TestPremiumNumbersAreRefused, in any spelling, from a phone and from the PBX; nobody hears of them.
func TestPremiumNumbersAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newTollGate(t, `{ name: premium, numbers: ["+4990", "0900"], code: 603 }, { name: lobby, from: ["204"], numbers: ["0180"] }`)
		defer g.close()
		for _, number := range []string{"0900123456", "0900-123.456", "%30900123", "+49900123", "0049900123", "0900123;phone-context=+49"} {
			for _, w := range []*wire{g.phone, g.pbx} {
				if code := g.refused(w, g.dials(w, "204", number)); code != 603 {
					t.Errorf("%s dials %s and hears %d", w.at, number, code)
				}
			}
		}
		if code := g.refused(g.pbx, g.dials(g.pbx, "204", "0180123")); code != 403 {
			t.Errorf("204 at the PBX hears %d", code)
		}
		if !g.talks(g.pbx, "205", "0180123", time.Second) || !g.talks(g.phone, "204", "030123", time.Second) || !g.talks(g.provider, "0900123", "0900123", time.Second) {
			t.Error("others are refused")
		}
		// RFC 3325 §9.1: whom the PBX asserts it calls for.
		m := g.dials(g.pbx, "anonymous", "0180123")
		m.Add("P-Asserted-Identity", `"Lobby" <sip:204@example.com>`)
		if code := g.refused(g.pbx, m); code != 403 {
			t.Errorf("204, anonymously, hears %d", code)
		}
		want := []string{
			"call refused: rule=premium aor=204@example.com trunk=<nil> src=198.51.100.7 reason=fraud number=0900123456 figure=the number begins with 0900",
			"call refused: rule=lobby aor=204@example.com trunk=itsp src=<nil> reason=fraud number=0180123 figure=the number begins with 0180",
		}
		got := g.lines()
		for i := range got {
			got[i] = strings.Replace(got[i], "trunk= ", "trunk=<nil> ", 1)
		}
		if !slices.Equal(got, want) { // a minute and a rule and a caller
			t.Errorf("the log says\n%s", strings.Join(got, "\n"))
		}
		if r := g.rule("premium"); r.Path != "policy.calls[0]" || r.Hits != 12 {
			t.Errorf("%+v", r)
		}
		why := g.why("198.51.100.7")
		if !strings.Contains(why, `INVITE 603 fraud: rule "premium": the number begins with 0900`) {
			t.Errorf("why says\n%s", why)
		}
		why = g.why("204")
		if !strings.Contains(why, `rule "lobby": the number begins with 0180`) || !strings.Contains(why, `rule "premium": the number begins with`) {
			t.Errorf("why says\n%s", why)
		}
		g.empty()
		if n := len(g.cdrs.all()); n != 3 {
			t.Errorf("%d records of 3 calls", n)
		}
	})
}

// TestTheFifthCallAtATime is refused, and allowed again after a hang-up.
func TestTheFifthCallAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newTollGate(t, `{ name: each phone, per: aor, concurrent: 4 }`)
		defer g.close()
		for _, w := range []*wire{g.phone, g.pbx} { // a phone's half of a call and the PBX's count each for itself
			_, far := g.way(w)
			var first [2]*party
			for i := range 4 {
				caller, callee := g.answered(w, g.dials(w, "204", "030123"))
				if caller == nil {
					t.Fatalf("call %d is refused", i+1)
				}
				if i == 0 {
					first = [2]*party{caller, callee}
				}
			}
			if code := g.refused(w, g.dials(w, "204", "030123")); code != 403 {
				t.Errorf("the fifth hears %d", code)
			}
			if why := g.why("204"); !strings.Contains(why, `aor 204@example.com has used 4 of 4 calls at a time, clears when one of them ends`) ||
				!strings.Contains(why, `: 4 of 4 calls at a time`) {
				t.Errorf("why says\n%s", why)
			}
			hangup(first[1], first[0])
			m := g.dials(w, "204", "030123")
			gate, _ := g.way(w)
			w.send(gate, m)
			arrived := far.want("INVITE")
			far.reply(arrived, 180, nil)
			if code := g.refused(w, g.dials(w, "204", "030123")); code != 403 {
				t.Errorf("while the fourth rings the fifth hears %d", code)
			}
			far.reply(arrived, 486, nil)
			far.want("ACK")
			w.send(gate, ackOf(m, w.want("486 INVITE")))
			if !g.talks(w, "204", "030123", time.Second) {
				t.Error("one was busy")
			}
		}
	})
}

// TestCallsAMinute: the eleventh is refused, and said to pass in six seconds, when it does.
func TestCallsAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newTollGate(t, `{ name: each, per: aor, per_minute: 10 }, { name: house, per: source, per_minute: 12 }`)
		defer g.close()
		began := time.Now()
		for i := range 10 {
			if !g.talks(g.phone, "204", "100", 0) {
				t.Fatalf("call %d is refused", i+1)
			}
		}
		if g.talks(g.phone, "204", "100", 0) {
			t.Error("the eleventh passes")
		}
		if why := g.why("198.51.100.7"); !strings.Contains(why, `INVITE 403 fraud: rule "each": aor 204@example.com has used 10 of 10 calls a minute, clears at `+
			began.Add(6*time.Second).Local().Format(time.TimeOnly)) || !strings.Contains(why, `rule "house": source 198.51.100.7: 10 of 12 calls a minute`) {
			t.Errorf("why says\n%s", why)
		}
		time.Sleep(6 * time.Second)
		if !g.talks(g.phone, "204", "100", 0) || g.talks(g.phone, "204", "100", 0) {
			t.Error("one passes six seconds later, and one only")
		}
		// Two phones in one house.
		g.enter(g.phone, "205")
		passed := 0
		for range 6 {
			if g.talks(g.phone, "205", "100", 0) {
				passed++
			}
		}
		if passed >= 6 || g.rule("house").Hits == 0 {
			t.Errorf("%d calls of the neighbour pass, house %+v", passed, g.rule("house"))
		}
	})
}

// TestMinutesADay: a call that runs is not cut, the next one is refused until the day is over; one line tells before.
func TestMinutesADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newTollGate(t, `{ name: each, per: aor, minutes_per_day: 60 }`)
		defer g.close()
		if !g.talks(g.phone, "204", "100", 40*time.Minute) {
			t.Fatal("refused")
		}
		g.lines()
		caller, callee := g.answered(g.phone, g.dials(g.phone, "204", "100"))
		time.Sleep(7 * time.Minute)
		if lines := g.lines(); len(lines) != 0 {
			t.Errorf("%q", lines)
		}
		time.Sleep(2 * time.Minute)
		if lines := g.lines(); len(lines) != 1 || !strings.Contains(lines[0], "call alarm: rule=each aor=204@example.com") ||
			!strings.Contains(lines[0], "48 of 60 minutes a day") && !strings.Contains(lines[0], "49 of 60 minutes a day") {
			t.Errorf("%q", lines)
		}
		time.Sleep(20 * time.Minute)
		g.enter(g.phone, "204")
		if code := g.refused(g.phone, g.dials(g.phone, "204", "100")); code != 403 {
			t.Errorf("another call hears %d", code)
		}
		hangup(caller, callee)
		if why := g.why("204"); !strings.Contains(why, "69 of 60 minutes a day, clears at ") {
			t.Errorf("why says\n%s", why)
		}
		if code := g.refused(g.phone, g.dials(g.phone, "204", "100")); code != 403 {
			t.Errorf("the next one hears %d", code)
		}
		time.Sleep(26 * time.Hour)
		g.enter(g.phone, "204")
		if !g.talks(g.phone, "204", "100", time.Second) {
			t.Error("another day")
		}
		for _, r := range g.cdrs.all() {
			if r.Code != 200 || r.EndedBy != "caller" {
				t.Errorf("record %+v", r)
			}
		}
	})
}

// TestAChallengedCallIsOne: the INVITE that the PBX asks a password for, and the one that brings it.
func TestAChallengedCallIsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newTollGate(t, `{ name: each, per: aor, per_minute: 2, concurrent: 1 }, { name: seen, numbers: ["1"], action: alarm }`)
		defer g.close()
		for i := range 2 {
			m := g.dials(g.phone, "204", "100")
			g.phone.send(phoneSocket, m)
			arrived := g.pbx.want("INVITE")
			g.pbx.reply(arrived, 407, nil, field(fmt.Sprintf(`Proxy-Authenticate: Digest realm="example.com", nonce="n%d"`, i)))
			g.pbx.want("ACK")
			g.phone.send(phoneSocket, ackOf(m, g.phone.want("407 INVITE")))
			again := g.phone.again(m, field(fmt.Sprintf(`Proxy-Authorization: Digest username="204", realm="example.com", nonce="n%d", uri="sip:100@example.com", response="r"`, i)))
			caller, callee := g.answered(g.phone, again)
			if caller == nil {
				t.Fatalf("the retry of call %d is refused", i+1)
			}
			hangup(caller, callee)
		}
		if g.talks(g.phone, "204", "100", 0) {
			t.Error("the third within a minute passes")
		}
		if r := g.rule("seen"); r.Hits != 2 {
			t.Errorf("%+v", r)
		}
		g.empty()
		if n := len(g.cdrs.all()); n != 2 {
			t.Errorf("%d records of 2 calls", n)
		}
	})
}

// TestAStrangersChallengedCallIsOne, too; and what pbx.limits refuses uses nobody's budget.
func TestAStrangersChallengedCallIsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newTollGate(t, `{ name: house, per: source, per_minute: 3 }`, "phones: { registration", `phones: { unregistered: forward, reachable: ["1.."], registration`,
			"health: { interval: 0 }", "health: { interval: 0 }\n  limits: { INVITE: 4/hour }")
		defer g.close()
		g.door.enter(g.phone, "204")
		stranger := g.wire(strangerAt)
		for i := range 2 {
			m := stranger.speaks("INVITE", "204")
			stranger.send(phoneSocket, m)
			g.pbx.reply(g.pbx.want("INVITE"), 401, nil, field(fmt.Sprintf(`WWW-Authenticate: Digest realm="example.com", nonce="n%d"`, i)))
			g.pbx.want("ACK")
			stranger.send(phoneSocket, ackOf(m, stranger.want("401 INVITE")))
			again := stranger.again(m, field(fmt.Sprintf(`Authorization: Digest username="204", realm="example.com", nonce="n%d", uri="sip:100@example.com", response="r"`, i)))
			if met := g.met(stranger, again); met != "PBX" {
				t.Errorf("the retry of call %d meets %s", i+1, met)
			}
		}
		for i := range 2 {
			if met := g.met(g.phone, g.phone.speaks("INVITE", "204")); met != "PBX" {
				t.Errorf("call %d of the phone meets %s", i+1, met)
			}
		}
		for range 5 {
			if met := g.met(stranger, stranger.speaks("INVITE", "204")); met != "503" {
				t.Errorf("beyond pbx.limits a call meets %s", met)
			}
		}
		if h := g.rule("house"); h.Hits != 0 {
			t.Errorf("two calls of three, and five that came nowhere: %+v", h)
		}
		st, err := g.gate.Control(nil).Status(g.ctx)
		if err != nil || !slices.ContainsFunc(st.Limits, func(l api.Limit) bool {
			return l.Name == "call budgets of strangers" && l.Level == 1 && l.Cap == 10_000
		}) {
			t.Errorf("%v, limits %+v", err, st.Limits)
		}
	})
}

// TestAlarmAndShadow: nothing is refused; an alarm is told once a minute, a rule on trial never.
func TestAlarmAndShadow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newTollGate(t, `{ name: dear, numbers: ["0180"], action: alarm }, { name: trial, numbers: ["0900"], shadow: true }, { name: each, per: aor, per_minute: 2, shadow: true }`)
		defer g.close()
		g.lines()
		for range 4 {
			if !g.talks(g.phone, "204", "0180123", 0) || !g.talks(g.phone, "204", "0900123", 0) {
				t.Fatal("refused")
			}
		}
		if lines := g.lines(); len(lines) != 1 || !strings.HasPrefix(lines[0], "call alarm: rule=dear aor=204@example.com") {
			t.Errorf("the log says %q", lines)
		}
		time.Sleep(time.Minute)
		g.talks(g.phone, "204", "0180123", 0)
		if lines := g.lines(); len(lines) != 1 {
			t.Errorf("a minute later %q", lines)
		}
		if a, b, c := g.rule("dear"), g.rule("trial"), g.rule("each"); a.Hits != 5 || b.Shadow != 4 || b.Hits != 0 || c.Shadow != 6 || c.Hits != 0 {
			t.Errorf("%+v %+v %+v", a, b, c)
		}
	})
}

// TestCountsOutliveAReload, by the name of their rule, calls in progress included.
func TestCountsOutliveAReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newTollGate(t, `{ name: premium, numbers: ["0900"] }, { name: each, per: aor, concurrent: 2, minutes_per_day: 60 }`)
		defer g.close()
		g.refused(g.phone, g.dials(g.phone, "204", "0900"))
		g.talks(g.phone, "204", "100", 50*time.Minute)
		caller, callee := g.answered(g.phone, g.dials(g.phone, "204", "100"))
		reload := func(rules string) {
			t.Helper()
			if _, err := g.gate.Reload(g.ctx, parse(t, rewritten(t, tollConfig, "RULES", rules))); err != nil {
				t.Fatal(err)
			}
		}
		reload(`{ name: each, per: aor, concurrent: 1, minutes_per_day: 60 }, { name: premium, numbers: ["0180"] }`)
		if code := g.refused(g.phone, g.dials(g.phone, "204", "100")); code != 403 {
			t.Errorf("with one of one call in progress the next hears %d", code)
		}
		hangup(caller, callee)
		if !g.talks(g.phone, "204", "0900", 10*time.Minute) {
			t.Error("0900 is allowed now")
		}
		if code := g.refused(g.phone, g.dials(g.phone, "204", "100")); code != 403 {
			t.Errorf("with sixty minutes used the next hears %d", code)
		}
		if r := g.rule("premium"); r.Path != "policy.calls[1]" || r.Hits != 1 {
			t.Errorf("%+v", r)
		}
		reload(`{ name: other, numbers: ["1"] }`)
		if code := g.refused(g.phone, g.dials(g.phone, "204", "100")); code != 403 || g.rule("other").Hits != 1 {
			t.Errorf("a new rule: %d", code)
		}
	})
}

// TestTrunksAreJudgedWhereARuleNamesThem.
func TestTrunksAreJudgedWhereARuleNamesThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newTollGate(t, `{ name: numbers, numbers: ["1"] }, { name: carrier, from: [itsp], numbers: ["2"] }, { name: channels, per: trunk, concurrent: 2 }`)
		defer g.close()
		if !g.talks(g.provider, "0301", "100", 0) {
			t.Error("a rule on everybody's calls refuses those of the trunk")
		}
		if code := g.refused(g.provider, g.dials(g.provider, "0301", "200")); code != 403 {
			t.Errorf("the trunk hears %d", code)
		}
		g.answered(g.provider, g.dials(g.provider, "0301", "100"))
		g.answered(g.pbx, g.dials(g.pbx, "204", "0301"))
		for _, w := range []*wire{g.provider, g.pbx} {
			if code := g.refused(w, g.dials(w, "204", "300")); code != 403 {
				t.Errorf("with two channels taken %s hears %d", w.at, code)
			}
		}
		if !g.talks(g.phone, "204", "300", 0) {
			t.Error("the phone's call takes no channel")
		}
		if lines := g.lines(); !slices.ContainsFunc(lines, func(s string) bool {
			return strings.HasPrefix(s, "call refused: rule=channels aor= trunk=itsp src=203.0.113.20 reason=fraud")
		}) {
			t.Errorf("the log says %q", lines)
		}
	})
}

// TestWhoIsNotRegisteredReachesOurNumbersOnly: `forward` is for a public number, and for nothing that costs.
func TestWhoIsNotRegisteredReachesOurNumbersOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, doorConfig, "unregistered: drop", `unregistered: forward, reachable: ["1[0-9]{2}", info]`,
			"rate_limits: []", "rate_limits: []\n  bans: { points: 0 }")
		defer d.close()
		d.enter(d.phone, "204")
		stranger, beside := d.wire(strangerAt), d.wire(besideAt)
		for _, tt := range []struct {
			w    *wire
			from string
			to   string
			want string
		}{
			{stranger, "204", "100", "PBX"}, {stranger, "204", "1-9-9", "PBX"}, {stranger, "x", "info", "PBX"},
			{stranger, "204", "0900123", "403"}, {stranger, "204", "1000", "403"}, {stranger, "204", "204", "403"},
			{beside, "299", "100", "PBX"}, {beside, "299", "0900123", "403"}, {beside, "204", "0900123", "PBX"},
		} {
			for _, method := range []string{"INVITE", "MESSAGE", "SUBSCRIBE", "PUBLISH"} {
				m := tt.w.speaks(method, tt.from)
				m.URI.User, m.To.URI.User = tt.to, tt.to
				if got := d.met(tt.w, m); got != tt.want {
					t.Errorf("%s of %s at %s for %s meets %s, want %s", method, tt.from, tt.w.at, tt.to, got, tt.want)
				}
			}
		}
		why, err := d.gate.Control(nil).Why(d.ctx, strangerAt.Addr().String())
		if err != nil || !strings.Contains(why.Text, "INVITE 403 fraud: not registered, it asks for 204, whom phones.reachable does not name") {
			t.Errorf("why says (%v)\n%s", err, why.Text)
		}
	})
}
