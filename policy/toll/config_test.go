package toll

import (
	"fmt"
	"strings"
	"testing"
)

// TestValidateNamesEveryFault: one error a fault, each with the path of its key.
func TestValidateNamesEveryFault(t *testing.T) {
	good := Rule{Name: "premium", Numbers: []string{"0900"}}
	for _, tt := range []struct {
		name  string
		rules []Rule
		want  []string // beginnings of the errors
	}{
		{"none", nil, nil},
		{"a destination rule", []Rule{good}, nil},
		{"a budget", []Rule{{Name: "each", Per: "aor", Concurrent: 4, PerMinute: 10, MinutesPerDay: 600}}, nil},
		{"all international calls", []Rule{{Name: "abroad", Numbers: []string{"+", "00"}}}, nil},
		{"a service code", []Rule{{Name: "forwarding", Numbers: []string{"*21", "#21#"}}}, nil},
		{"as people write numbers", []Rule{{Name: "x", Numbers: []string{"+49 (90) 0", "tel:+881", "00-882"}}}, nil},
		{"callers alone", []Rule{{Name: "hall", From: []string{"299"}}}, nil},
		{"no name", []Rule{{Numbers: []string{"1"}}}, []string{"policy.calls[0].name: is empty"}},
		{"twice", []Rule{good, good}, []string{`policy.calls[1].name: "premium" is also the name of policy.calls[0]`}},
		{"no number", []Rule{{Name: "x", Numbers: []string{"alice", "", "+49x", "1+2"}}}, []string{
			`policy.calls[0].numbers: "alice"`, `policy.calls[0].numbers: ""`, `policy.calls[0].numbers: "+49x"`, `policy.calls[0].numbers: "1+2"`,
		}},
		{"a long number", []Rule{{Name: "x", Numbers: []string{strings.Repeat("1", 33)}}}, []string{"policy.calls[0].numbers"}},
		{"nobody", []Rule{{Name: "x", From: []string{"a b", ""}}}, []string{`policy.calls[0].from: "a b"`, `policy.calls[0].from: ""`}},
		{"everything", []Rule{{Name: "x"}}, []string{"policy.calls[0].numbers: is empty, and so is from"}},
		{"an action", []Rule{{Name: "x", Numbers: []string{"1"}, Action: "drop"}}, []string{`policy.calls[0].action: "drop"`}},
		{"a code", []Rule{{Name: "x", Numbers: []string{"1"}, Code: 200}}, []string{"policy.calls[0].code: 200"}},
		{"a challenge", []Rule{{Name: "x", Numbers: []string{"1"}, Code: 407}}, []string{"policy.calls[0].code: 407"}},
		{"per whom", []Rule{{Name: "x", Concurrent: 1}}, []string{"policy.calls[0].per: is missing"}},
		{"per nobody", []Rule{{Name: "x", Per: "phone", Concurrent: 1}}, []string{`policy.calls[0].per: "phone"`}},
		{"no budget", []Rule{{Name: "x", Per: "aor"}}, []string{"policy.calls[0].per: without a budget"}},
		{"below zero", []Rule{{Name: "x", Per: "aor", Concurrent: -1, PerMinute: -2, MinutesPerDay: 2e6}}, []string{
			"policy.calls[0].concurrent: -1", "policy.calls[0].per_minute: -2", "policy.calls[0].minutes_per_day: 2000000",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := (&Config{Rules: tt.rules}).Validate()
			var got []string
			if err != nil {
				got = strings.Split(err.Error(), "\n")
			}
			if len(got) != len(tt.want) {
				t.Fatalf("%d errors, want %d: %v", len(got), len(tt.want), err)
			}
			for i, want := range tt.want {
				if !strings.HasPrefix(got[i], want) {
					t.Errorf("%q, want %q", got[i], want)
				}
			}
			if _, again := Compile(&Config{Rules: tt.rules}); (again == nil) != (err == nil) {
				t.Errorf("Validate says %v, Compile %v", err, again)
			}
		})
	}
}

func TestTooManyRules(t *testing.T) {
	var c Config
	for i := range rulesMost + 1 {
		c.Rules = append(c.Rules, Rule{Name: fmt.Sprint(i), Numbers: make([]string, 101)})
		for j := range c.Rules[i].Numbers {
			c.Rules[i].Numbers[j] = "1"
		}
	}
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "1001 rules") || !strings.Contains(err.Error(), "101101 numbers") {
		t.Errorf("%v", err)
	}
}

// TestWarnings: a rule that another leaves nothing for is no error, but never what somebody meant.
func TestWarnings(t *testing.T) {
	n := func(list ...string) []string { return list }
	for _, tt := range []struct {
		name   string
		first  Rule
		second Rule
		want   bool
	}{
		{"a shorter prefix first", Rule{Numbers: n("+49"), Action: "alarm"}, Rule{Numbers: n("004990", "+49900")}, true},
		{"a longer one first", Rule{Numbers: n("+4990")}, Rule{Numbers: n("+49")}, false},
		{"one of two is left", Rule{Numbers: n("+49")}, Rule{Numbers: n("+4990", "0900")}, false},
		{"every number", Rule{From: n("strangers")}, Rule{From: n("strangers"), Numbers: n("1")}, true},
		{"of others", Rule{From: n("strangers")}, Rule{From: n("phones"), Numbers: n("1")}, false},
		{"everybody includes phones", Rule{Numbers: n("0")}, Rule{From: n("phones"), Numbers: n("0900")}, true},
		{"but no trunks", Rule{Numbers: n("0")}, Rule{From: n("itsp"), Numbers: n("0900")}, false},
		{"some of everybody", Rule{From: n("204"), Numbers: n("0")}, Rule{Numbers: n("0900")}, false},
		{"on trial it decides nothing", Rule{Numbers: n("0"), Shadow: true}, Rule{Numbers: n("0900")}, false},
		{"budgets are for themselves", Rule{Numbers: n("0")}, Rule{Numbers: n("0900"), Per: "aor", Concurrent: 1}, false},
	} {
		tt.first.Name, tt.second.Name = "first", "second"
		r, err := Compile(&Config{Rules: []Rule{tt.first, tt.second}})
		if err != nil {
			t.Fatal(tt.name, err)
		}
		w := r.Warnings()
		if (len(w) == 1) != tt.want || tt.want && !strings.HasPrefix(w[0], `policy.calls[1]: never decides, the rule "first"`) {
			t.Errorf("%s: %q", tt.name, w)
		}
	}
}
