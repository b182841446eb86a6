package toll

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// callers are one of each kind, and those that lack something.
var callers = map[string]Call{
	"phone":           {Kind: Phone, AoR: anna, Source: netip.MustParseAddr("198.51.100.7")},
	"another phone":   {Kind: Phone, AoR: bert, Source: netip.MustParseAddr("198.51.100.7")},
	"IPv6 phone":      {Kind: Phone, AoR: anna, Source: netip.MustParseAddr("2001:db8:1:2:3:4:5:6")},
	"stranger":        {Kind: Stranger, Source: netip.MustParseAddr("192.0.2.1")},
	"liar":            {Kind: Stranger, AoR: anna, Trunk: "", Source: netip.MustParseAddr("192.0.2.1")},
	"pbx":             {Kind: PBX, AoR: anna, Trunk: "itsp"},
	"pbx, nobody":     {Kind: PBX, Trunk: "itsp"},
	"pbx, no way out": {Kind: PBX, AoR: anna},
	"trunk":           {Kind: Trunk, Trunk: "itsp", Source: netip.MustParseAddr("203.0.113.20")},
	"trunk 204":       {Kind: Trunk, Trunk: "204", Source: netip.MustParseAddr("203.0.113.21")},
}

// TestWhoseBudget: each kind of budget, and who has one.
func TestWhoseBudget(t *testing.T) {
	for per, want := range map[string]map[string]string{
		"aor": {
			"phone": "aor 204@example.com", "another phone": "aor 205@example.com", "IPv6 phone": "aor 204@example.com",
			"pbx": "aor 204@example.com", "pbx, no way out": "aor 204@example.com",
		},
		"trunk": {"pbx": "trunk itsp", "pbx, nobody": "trunk itsp", "trunk": "trunk itsp", "trunk 204": "trunk 204"},
		"source": {
			"phone": "source 198.51.100.7", "another phone": "source 198.51.100.7", "IPv6 phone": "source 2001:db8:1:2::/64",
			"stranger": "source 192.0.2.1", "liar": "source 192.0.2.1", "trunk": "source 203.0.113.20", "trunk 204": "source 203.0.113.21",
		},
		"": {},
	} {
		r := rule{Rule: Rule{Per: per}}
		for name, c := range callers {
			k, ok := r.subject(&c)
			if ok != (want[name] != "") || ok && k.String() != want[name] {
				t.Errorf("per %q of %s: %s %v, want %q", per, name, k, ok, want[name])
			}
		}
	}
	r := rule{Rule: Rule{Per: "aor"}}
	phone, pbx := callers["phone"], callers["pbx"]
	a, _ := r.subject(&phone)
	b, _ := r.subject(&pbx)
	if a == b || a.class() == b.class() {
		t.Error("a phone's half of a call and the PBX's have one budget")
	}
	r.Per = "trunk"
	trunk := callers["trunk"]
	a, _ = r.subject(&trunk)
	b, _ = r.subject(&pbx)
	if a != b {
		t.Error("a trunk's two ways have a budget each")
	}
}

// TestFrom: whom a rule concerns.
func TestFrom(t *testing.T) {
	everybody := "phone, another phone, IPv6 phone, stranger, liar, pbx, pbx, nobody, pbx, no way out"
	for _, tt := range []struct {
		from []string
		per  string
		want string // names of callers
	}{
		{nil, "", everybody},
		{nil, "aor", everybody},
		{nil, "trunk", everybody + ", trunk, trunk 204"},
		{[]string{"phones"}, "", "phone, another phone, IPv6 phone"},
		{[]string{"Phones"}, "", "phone, another phone, IPv6 phone"},
		{[]string{"strangers"}, "", "stranger, liar"},
		{[]string{"pbx"}, "", "pbx, pbx, nobody, pbx, no way out"},
		{[]string{"itsp"}, "", "trunk"},
		{[]string{"ITSP"}, "", ""},
		{[]string{"204"}, "", "phone, IPv6 phone, pbx, pbx, no way out, trunk 204"},
		{[]string{"204@example.com"}, "", "phone, IPv6 phone, pbx, pbx, no way out"},
		{[]string{"204@EXAMPLE.com"}, "", "phone, IPv6 phone, pbx, pbx, no way out"},
		{[]string{"%3204"}, "", "phone, IPv6 phone, pbx, pbx, no way out"},
		{[]string{"%32%30%34;isub=1@example.com"}, "", "phone, IPv6 phone, pbx, pbx, no way out"},
		{[]string{"204@example.net"}, "", ""},
		{[]string{"20"}, "", ""},
		{[]string{"205", "itsp"}, "", "another phone, trunk"},
		{[]string{"pbx"}, "trunk", "pbx, pbx, nobody, pbx, no way out"},
	} {
		r := rule{Rule: Rule{From: tt.from, Per: tt.per}}
		for name, c := range callers {
			want := strings.Contains(", "+tt.want+", ", ", "+name+", ") && tt.want != ""
			if name == "phone" && !strings.HasPrefix(tt.want, "phone") {
				want = false // the end of another's name
			}
			if got := r.concerns(&c); got != want {
				t.Errorf("from %v per %q: %s %v, want %v", tt.from, tt.per, name, got, want)
			}
		}
	}
}

func TestVerdictText(t *testing.T) {
	at := time.Date(2026, 3, 1, 13, 4, 5, 0, time.UTC)
	for want, v := range map[string]Verdict{
		"": {Rule: "x", Key: "y"},
		`rule "premium": the number begins with 0900`:                                            {Refuse: true, Rule: "premium", Figure: "the number begins with 0900"},
		`rule "each": aor a@b has used 4 of 4 calls at a time, clears when one of them ends`:     {Refuse: true, Rule: "each", Key: "aor a@b", Figure: "4 of 4 calls at a time"},
		`rule "each": trunk itsp has used 10 of 10 calls a minute, clears at 14:04:05`:           {Refuse: true, Rule: "each", Key: "trunk itsp", Figure: "10 of 10 calls a minute", Clears: at},
		`rule "each": all others has used 2 of 2 calls at a time, clears when one of them ends`:  {Refuse: true, Rule: "each", Key: "all others", Figure: "2 of 2 calls at a time"},
		`rule "night shift": source 192.0.2.1 has used 9 of 9 minutes a day, clears at 14:04:05`: {Refuse: true, Rule: "night shift", Key: "source 192.0.2.1", Figure: "9 of 9 minutes a day", Clears: at},
	} {
		if got := v.Text(time.FixedZone("CET", 3600)); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestWhoIsToldByADestinationRule: the best name that there is.
func TestWhoIsToldByADestinationRule(t *testing.T) {
	for name, want := range map[string]string{
		"phone": "aor 204@example.com", "stranger": "source 192.0.2.1", "liar": "source 192.0.2.1", "trunk": "trunk itsp",
		"pbx": "aor 204@example.com", "pbx, nobody": "pbx", "IPv6 phone": "aor 204@example.com",
	} {
		c := callers[name]
		if got := c.who(); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// TestTheFirstRuleDecides compares destination rules with the plain way, in any order and number.
func TestTheFirstRuleDecides(t *testing.T) {
	names := []string{"phone", "stranger", "pbx", "trunk"}
	rapid.Check(t, func(t *rapid.T) {
		var c Config
		for i := range rapid.IntRange(1, 6).Draw(t, "rules") {
			r := Rule{
				Name:    fmt.Sprint(i),
				Numbers: rapid.SliceOfN(rapid.StringMatching(`[+0-2][0-2]{0,2}`), 1, 3).Draw(t, "numbers"),
				From:    rapid.SliceOfN(rapid.SampledFrom([]string{"phones", "strangers", "pbx", "itsp", "204"}), 0, 2).Draw(t, "from"),
				Action:  rapid.SampledFrom([]string{"", "reject", "alarm"}).Draw(t, "action"),
				Shadow:  rapid.IntRange(0, 3).Draw(t, "shadow") == 0,
			}
			c.Rules = append(c.Rules, r)
		}
		rs, err := Compile(&c)
		if err != nil {
			t.Fatal(err)
		}
		call := callers[rapid.SampledFrom(names).Draw(t, "who")]
		call.Number = rapid.StringMatching(`(00|\+)?[0-2]{1,5}`).Draw(t, "number")
		want, alarm, shadows := "", "", 0
		for i := range c.Rules {
			r := &c.Rules[i]
			if !anyOf(r.Numbers, func(n string) bool { return strings.HasPrefix(Number(call.Number), Number(n)) }) || !rs.list[i].concerns(&call) {
				continue
			}
			if r.Shadow {
				shadows++
				continue
			}
			if r.Action == "alarm" {
				alarm = r.Name
			} else {
				want = r.Name
			}
			break
		}
		l := NewLedger(birth, rs)
		v := l.Begin(birth, 1, call)
		if v.Refuse != (want != "") || v.Rule != want {
			t.Fatalf("%s: refused by %q, want %q", call.Number, v.Rule, want)
		}
		if told := want + alarm; (len(v.Alarms) == 1) != (told != "") || told != "" && (v.Alarms[0].Rule != told || v.Alarms[0].Refuse != (want != "")) {
			t.Fatalf("told %+v, want %q", v.Alarms, told)
		}
		var got uint64
		for _, h := range l.Hits() {
			got += h.Shadow
		}
		if want == "" && got != uint64(shadows) || want != "" && got != 0 {
			t.Fatalf("%d shadow hits, want %d", got, shadows)
		}
	})
}

// TestCaseIsNoOtherBudget: many PBXes take alice and Alice for one, and let both in.
func TestCaseIsNoOtherBudget(t *testing.T) {
	l := NewLedger(birth, compiled(t, Rule{Name: "alice", From: []string{"Alice"}, Numbers: []string{"0900"}}, Rule{Name: "each", Per: "aor", Concurrent: 1}))
	if v := l.Begin(birth, 1, Call{Kind: Phone, AoR: "alice@example.com", Number: "030"}); v.Refuse {
		t.Error("the first call is refused")
	}
	if v := l.Begin(birth, 2, Call{Kind: Phone, AoR: "ALICE@example.com", Number: "030"}); !v.Refuse || v.Key != "aor alice@example.com" {
		t.Errorf("the second one: %+v", v)
	}
	if v := l.Begin(birth, 3, Call{Kind: Phone, AoR: "aLiCe@example.com", Number: "0900"}); v.Rule != "alice" {
		t.Errorf("her number: %+v", v)
	}
	if got := l.Standing(birth, Who{AoR: "Alice@example.com"}); len(got) != 1 {
		t.Errorf("she has used %q", got)
	}
}
