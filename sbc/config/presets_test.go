package config

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"sallyport/sbc/tu"
)

const presetTrunk = `outside: { address: 203.0.113.10 }
inside: { address: 10.0.0.2 }
pbx: { domain: example.com, nodes: [ { address: 10.0.0.10 } ] }
trunks:
  - name: itsp
    peers: [ { address: 203.0.113.20 } ]
`

// TestPresets: the file may name all there are, each can be read, and what it sets counts; the file's own word counts more,
// wherever it stands.
func TestPresets(t *testing.T) {
	field, _ := reflect.TypeFor[TrunkEntry]().FieldByName("Preset")
	var names []string
	for _, p := range Presets() {
		names = append(names, p.Name)
		var e TrunkEntry
		e.setDefaults()
		before := e
		p.apply(reflect.ValueOf(&e).Elem())
		if reflect.DeepEqual(before, e) || p.Kind == "" {
			t.Errorf("%s sets nothing", p.Name)
		}
	}
	if got := strings.Join(names, "|"); got != field.Tag.Get("oneof") {
		t.Errorf("the file may name %s, and there are %s", field.Tag.Get("oneof"), got)
	}
	register := strings.Replace(presetTrunk, "    peers: [ { address: 203.0.113.20 } ]\n",
		"    registration: { registrar: 203.0.113.20, username: pilot, password: \"file:/etc/sbc/itsp.secret\" }\n", 1)
	for _, tt := range []struct {
		name, text string
		check      func(e *TrunkEntry, s *Trunk) bool
	}{
		{"one", presetTrunk + "    preset: plus\n", func(e *TrunkEntry, _ *Trunk) bool { return e.Numbers.Format == "plus" }},
		{"the later one counts", presetTrunk + "    preset: [ plus, no-plus ]\n", func(e *TrunkEntry, _ *Trunk) bool { return e.Numbers.Format == "e164" }},
		{"the file before", presetTrunk + "    numbers: { format: e164 }\n    preset: plus\n", func(e *TrunkEntry, _ *Trunk) bool { return e.Numbers.Format == "e164" }},
		{"the file behind", presetTrunk + "    preset: plus\n    numbers: { user_phone: true }\n", func(e *TrunkEntry, _ *Trunk) bool {
			return e.Numbers.Format == "plus" && e.Numbers.UserPhone
		}},
		{"several", presetTrunk + "    preset: [ preferred, plus ]\n", func(e *TrunkEntry, s *Trunk) bool {
			return e.Identity.Asserted == "p-preferred" && e.Identity.From == "pass" && s.Rules.Naming.Asserted == tu.IdentityPreferred
		}},
		{"SIPconnect registers", register + "    preset: sipconnect-register\n", func(e *TrunkEntry, s *Trunk) bool {
			return e.Mode == "register" && e.Registration.GIN && e.Registration.Username == "pilot" && s.Registration.GIN && e.DTMF == "rfc4733"
		}},
		{"the account in From", register + "    mode: register\n    preset: account-from\n", func(_ *TrunkEntry, s *Trunk) bool {
			n := &s.Rules.Naming
			return n.From == tu.IdentityFixed && n.FromFixed.URI.String() == "sip:pilot@203.0.113.20" && n.Asserted == tu.IdentityAsserted
		}},
		{"the pilot's number asserted", register + "    mode: register\n    preset: pilot\n", func(_ *TrunkEntry, s *Trunk) bool {
			n := &s.Rules.Naming
			return n.Asserted == tu.IdentityFixed && n.AssertedFixed.URI.String() == "sip:pilot@203.0.113.20" && n.From == tu.IdentityPass
		}},
	} {
		snap, report := parseText("f", []byte(tt.text), Flags{})
		if snap == nil {
			t.Errorf("%s: %s", tt.name, report.String())
		} else if !tt.check(&snap.doc.Trunks[0], &snap.Trunks[0]) {
			t.Errorf("%s: %+v\n%+v", tt.name, snap.doc.Trunks[0], snap.Trunks[0])
		}
	}
	for _, tt := range []struct{ text, want string }{
		{presetTrunk + "    preset: bluebox\n", `f:7:13: trunks[0].preset[0]: "bluebox" is not a possible value`},
		{presetTrunk + "    preset: account-from\n", "trunks[0].identity.from: the trunk has no account"},
	} {
		if _, report := parseText("f", []byte(tt.text), Flags{}); !strings.Contains(report.String(), tt.want) {
			t.Errorf("%s, not %s", report.String(), tt.want)
		}
	}
}

// TestPresetsAreDocumented: each with all that it sets.
func TestPresetsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/trunks.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range Presets() {
		var sets []string
		for line := range strings.Lines(strings.TrimSpace(p.Sets)) {
			sets = append(sets, "`"+strings.TrimSpace(line)+"`")
		}
		if row := "| `" + p.Name + "` | " + p.Kind + " | " + strings.Join(sets, "; ") + " |\n"; !strings.Contains(string(page), row) {
			t.Errorf("docs/trunks.md lacks the row\n%s", row)
		}
	}
}

// TestPresetsAddUp: what several say that a provider does not support is all of it; the file's own word stands alone.
func TestPresetsAddUp(t *testing.T) {
	for _, tt := range []struct {
		text, unsupported string
		lacks             tu.Lacks
		timer             bool // session timers are asked for
		set, overruled    string
	}{
		{"    preset: [ no-update, no-100rel, no-info ]\n", "update 100rel info", tu.LacksUpdate | tu.LacksReliable | tu.LacksInfo, true,
			"unsupported: [ update ] (no-update), unsupported: [ 100rel ] (no-100rel), unsupported: [ info ] (no-info), dtmf: rfc4733 (no-info)", ""},
		{"    preset: [ no-update, no-update ]\n", "update", tu.LacksUpdate, true, "unsupported: [ update ] (no-update), unsupported: [ update ] (no-update)", ""},
		{"    unsupported: [ replaces, timer ]\n    preset: no-update\n", "replaces timer", tu.LacksReplaces, false, "", "unsupported"},
		{"    preset: [ no-session-timer, plus, no-plus ]\n    identity: { from: pass }\n", "", 0, false, "session_timer: 0s (no-session-timer), numbers.format: e164 (no-plus)", ""},
		{"    preset: no-session-timer\n    session_timer: 600s\n", "", 0, true, "", "session_timer"},
		{"", "", 0, true, "", ""},
	} {
		snap, report := parseText("f", []byte(presetTrunk+tt.text), Flags{})
		if snap == nil {
			t.Errorf("%s: %s", tt.text, report.String())
			continue
		}
		e, s := &snap.doc.Trunks[0], &snap.Trunks[0]
		if got := strings.Join(e.Unsupported, " "); got != tt.unsupported || s.Manners.Lacks != tt.lacks || (s.SessionTimer > 0) != tt.timer {
			t.Errorf("%s: %q, %b, %v", tt.text, got, s.Manners.Lacks, s.SessionTimer)
		}
		set, overruled := snap.PresetsOf("itsp")
		var list []string
		for _, v := range set {
			list = append(list, v.String())
		}
		if got := strings.Join(list, ", "); got != tt.set || strings.Join(overruled, ", ") != tt.overruled {
			t.Errorf("%s: set %s; overruled %s", tt.text, got, overruled)
		}
		if noted := strings.Contains(report.Full(), "trunks[0].preset: sets "); noted != (tt.set+tt.overruled != "") {
			t.Errorf("%s:\n%s", tt.text, report.Full())
		}
	}
	if set, overruled := snapOf(t, presetTrunk).PresetsOf("other"); set != nil || overruled != nil {
		t.Errorf("%v %v", set, overruled)
	}
}

// TestManners: the words of the file, and what cannot be had together.
func TestManners(t *testing.T) {
	snap := snapOf(t, presetTrunk+"    hold: local\n    early_media: 183\n    unsupported: [ replaces ]\n")
	if got := snap.Trunks[0].Manners; got != (tu.Manners{KeepsFlowing: true, RingsBare: true, Lacks: tu.LacksReplaces}) {
		t.Errorf("%+v", got)
	}
	if got := snapOf(t, presetTrunk).Trunks[0].Manners; got != (tu.Manners{}) {
		t.Errorf("%+v by default", got)
	}
	for _, tt := range []struct{ text, want string }{
		{"    hold: never\n", "trunks[0].hold"},
		{"    early_media: 180\n", "trunks[0].early_media"},
		{"    unsupported: [ bye ]\n", "trunks[0].unsupported[0]"},
		{"    unsupported: [ update, update ]\n", "trunks[0].unsupported[1]: update is named twice"},
		{"    unsupported: [ info ]\n    dtmf: info\n", "write dtmf: rfc4733, or leave info out"},
	} {
		if _, report := parseText("f", []byte(presetTrunk+tt.text), Flags{}); !strings.Contains(report.String(), tt.want) {
			t.Errorf("%s%s, not %s", tt.text, report.String(), tt.want)
		}
	}
}

func snapOf(t *testing.T, text string) *Snapshot {
	t.Helper()
	snap, report := parseText("f", []byte(text), Flags{})
	if snap == nil {
		t.Fatal(report.String())
	}
	return snap
}
