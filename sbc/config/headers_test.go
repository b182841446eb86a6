package config

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// rulesText is Rules without pointers.
type rulesText struct {
	Inbound, Outbound     []string
	NumbersIn, NumbersOut []string
	Naming                tu.Naming
	CodesIn, CodesOut     []tu.Code
}

func textOf(r *tu.Rules) *rulesText {
	if r == nil {
		return nil
	}
	out := &rulesText{Naming: r.Naming, CodesIn: r.CodesIn, CodesOut: r.CodesOut}
	for _, l := range []struct {
		from []tu.Rule
		to   *[]string
	}{{r.Inbound, &out.Inbound}, {r.Outbound, &out.Outbound}} {
		for _, x := range l.from {
			match := ""
			if x.Match != nil {
				match = x.Match.String()
			}
			*l.to = append(*l.to, strings.Join([]string{x.Action.String(), x.Header, x.Method, match, x.Value}, "|"))
		}
	}
	for _, l := range []struct {
		from []tu.Number
		to   *[]string
	}{{r.NumbersIn, &out.NumbersIn}, {r.NumbersOut, &out.NumbersOut}} {
		for _, x := range l.from {
			of := "calling"
			if x.Called {
				of = "called"
			}
			*l.to = append(*l.to, strings.Join([]string{of, x.Match.String(), x.Replace}, "|"))
		}
	}
	return out
}

// TestRulesOfASnapshot: what the last hand on messages gets. Names are canonical, $1 is a group whatever stands behind it, and a
// dollar without match is a dollar.
func TestRulesOfASnapshot(t *testing.T) {
	snap, report := parseFile(t, corpus+"/good/headers.yaml")
	if snap == nil {
		t.Fatal(report.String())
	}
	fixed, err := message.ParseNameAddr(`"Example" <sip:+4930555@example.com>`)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		got  *tu.Rules
		want *rulesText
	}{
		"phones": {snap.Phones.Rules, &rulesText{
			Inbound: []string{"set|X-Origin|||roaming"}, Outbound: []string{"remove|Alert-Info|INVITE||"}, CodesOut: []tu.Code{{From: 604, To: 404}},
		}},
		"itsp": {snap.Trunks[0].Rules, &rulesText{
			Inbound:   []string{`replace|Subject||\A(?:(?i)re: (.*))\z|${1}x`},
			Outbound:  []string{"set|From|MESSAGE||sip:1@example.com", "add|X-Cost|||US$ 5"},
			NumbersIn: []string{`calling|\A(?:00([1-9][0-9]+))\z|+${1}`},
			NumbersOut: []string{
				`called|\A(?:0([1-9])([0-9]+))\z|+49${1}${2}`, `calling|\A(?:[0-9]{3})\z|+4930555${0}`,
			},
			Naming: tu.Naming{
				From: tu.IdentityFixed, FromFixed: fixed, Asserted: tu.IdentityRemote, Privacy: tu.IdentityRemove, STIR: tu.IdentityRemove, Diversion: tu.DiversionField,
			},
			CodesIn: []tu.Code{{From: 603, To: 486}, {From: 302, To: 480}},
		}},
		"plain": {snap.Trunks[1].Rules, nil}, // who has none pays for none
	} {
		if d := cmp.Diff(c.want, textOf(c.got), cmpopts.EquateEmpty()); d != "" {
			t.Errorf("%s:\n%s", name, d)
		}
	}
}

// TestRulesReload: they count for new calls, and the diff names them.
func TestRulesReload(t *testing.T) {
	raw, err := os.ReadFile(corpus + "/good/headers.yaml")
	if err != nil {
		t.Fatal(err)
	}
	data := string(raw)
	for _, c := range []struct{ old, new, want string }{
		{"value: roaming", "value: home", "~ phones.headers.inbound: [{ header: x-origin, action: set, value: roaming }] → [{ header: x-origin, action: set, value: home }] (new calls)"},
		{"privacy: remove", "privacy: pass", "~ trunks[itsp].identity.privacy: remove → pass (new calls)"},
		{"from: 302, to: 480", "from: 302, to: 404", "~ trunks[itsp].codes.inbound: [{ from: 603, to: 486 }, { from: 302, to: 480 }] → [{ from: 603, to: 486 }, { from: 302, to: 404 }] (new calls)"},
	} {
		next := strings.Replace(data, c.old, c.new, 1)
		if got := render(Diff(mustParse(t, data), mustParse(t, next))); got != c.want {
			t.Errorf("%s:\n%s", c.new, got)
		}
	}
}

// TestRulesAreFew: a list that every message meets has an end.
func TestRulesAreFew(t *testing.T) {
	many := strings.Repeat("{ header: X-A, action: remove }, ", 65)
	text := strings.Replace(valid, "policy:", "phones: { headers: { inbound: [ "+many+" ] } }\npolicy:", 1)
	snap, report := parseText("f", []byte(text), Flags{})
	if snap != nil || !strings.Contains(report.String(), "phones.headers.inbound: 65 rules; there may be 64") {
		t.Error(report.String())
	}
}
