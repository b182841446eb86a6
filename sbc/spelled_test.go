package sbc_test

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat/natlab"
	"sallyport/policy"
	"sallyport/sbc"
)

// TestASpelledUserHasOneBudget: neither a phone that registers and calls in other spellings of its user, nor one whose spelling the PBX passes
// on, has more than its rules give it; and whoever asks is told of one phone.
func TestASpelledUserHasOneBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newTollGate(t, `{ name: lobby, from: ["204"], numbers: ["0180"] }, { name: each, per: aor, concurrent: 2 }`)
		defer g.close()
		spelled := []string{"204", "%3204", "%32%30%34", "204;isub=1", "204:secret"}
		for _, user := range spelled[1:] {
			m := g.phone.request("REGISTER", phoneSocket, user)
			m.From.URI.User, m.From.URI.Host = user, "example.com"
			m.To.URI.User, m.To.URI.Host = user, "example.com"
			m.Add("Contact", "<sip:x"+user[len(user)-1:]+"@"+g.phone.at.String()+">")
			g.bind(g.phone, m)
		}
		list, err := g.gate.Control(nil).Registrations(g.ctx, "%32%304")
		if err != nil || len(list) < 3 {
			t.Fatalf("%+v, %v", list, err)
		}
		for _, r := range list {
			if r.AoR != "204@example.com" {
				t.Errorf("registered is %s", r.AoR)
			}
		}
		for _, w := range []*wire{g.phone, g.pbx} {
			for _, user := range spelled {
				if code := g.refused(w, g.dials(w, user, "0180123")); code != 403 {
					t.Errorf("%s as %s hears %d", w.at, user, code)
				}
			}
			for n, user := range spelled[1:] {
				if n < 2 {
					if caller, _ := g.answered(w, g.dials(w, user, "030123")); caller == nil {
						t.Errorf("call %d of %s is refused", n, user)
					}
				} else if code := g.refused(w, g.dials(w, user, "030123")); code != 403 {
					t.Errorf("call %d at a time, of %s, hears %d", n, user, code)
				}
			}
		}
		for _, asked := range []string{"204", "sip:%32%304@Example.com.", "204@203.0.113.10"} {
			if why := g.why(asked); !strings.Contains(why, "204@example.com") || !strings.Contains(why, "2 of 2 calls at a time") {
				t.Errorf("why %s says\n%s", asked, why)
			}
		}
		time.Sleep(time.Second)
		for _, r := range g.cdrs.all() {
			if strings.Contains(r.From+r.To+r.AoR, "secret") || r.AoR != "" && r.AoR != "204@example.com" {
				t.Errorf("%s calls %s, of %s", r.From, r.To, r.AoR)
			}
		}
	})
}

// TestASpelledBanOutlivesARestart: a ban that a program before has kept under another reading of its user holds, and is kept under this one.
func TestASpelledBanOutlivesARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		state := &memory{}
		ban := policy.Ban{Prefix: netip.MustParsePrefix("192.0.2.66/32"), AoR: "204%3Bisub=1@example.com", Auto: true, Since: time.Now(), Until: time.Now().Add(time.Hour)}
		value, err := json.Marshal(ban)
		if err != nil {
			t.Fatal(err)
		}
		const old, now = "auto 192.0.2.66/32 0 204;isub=1", "auto 192.0.2.66/32 0 204"
		state.values = map[string][]byte{old: value, "auto 192.0.2.67/32 0 204": value, "x": value}
		l := newGate(t, doorConfig, natlab.Options{Seed: 6}, func(o *sbc.Options) { o.Bans = state })
		defer l.close()
		list, err := l.gate.Control(nil).Bans(l.ctx)
		if err != nil || len(list) != 1 || list[0].Address != "192.0.2.66" {
			t.Errorf("%+v, %v", list, err)
		}
		time.Sleep(3 * time.Second)
		if kept := state.copied().values; len(kept) != 1 || kept[now] == nil {
			t.Errorf("kept is %q", kept)
		}
	})
}
