package toll

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// birth is when the tests' ledgers begin: the middle of an hour.
var birth = time.Date(2026, 3, 1, 10, 30, 0, 0, time.UTC)

// bench is a ledger with a clock.
type bench struct {
	t   *testing.T
	l   *Ledger
	now time.Time
	id  uint64
}

func newBench(t *testing.T, rules ...Rule) *bench {
	t.Helper()
	return &bench{t: t, l: NewLedger(birth, compiled(t, rules...)), now: birth}
}

func compiled(t *testing.T, rules ...Rule) *Rules {
	t.Helper()
	r, err := Compile(&Config{Rules: rules})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// begin begins a call and returns its id, 0 if it was refused.
func (b *bench) begin(c Call) (id uint64, v Verdict) {
	b.id++
	if v = b.l.Begin(b.now, b.id, c); v.Refuse {
		return 0, v
	}
	return b.id, v
}

// passes begins a call and ends it at once.
func (b *bench) passes(c Call) bool {
	id, v := b.begin(c)
	b.l.End(b.now, id)
	return !v.Refuse
}

// talk is a whole call of a length.
func (b *bench) talk(c Call, d time.Duration) []Alarm {
	b.t.Helper()
	id, v := b.begin(c)
	if v.Refuse {
		b.t.Fatalf("refused: %s", v.Text(time.UTC))
	}
	b.l.Answered(b.now, id)
	b.now = b.now.Add(d)
	return b.l.End(b.now, id)
}

func phone(aor, number string) Call {
	return Call{Kind: Phone, AoR: aor, Source: netip.MustParseAddr("198.51.100.7"), Number: number}
}

const anna, bert = "204@example.com", "205@example.com"

// TestDestinations: the first rule of the file that matches decides, whoever has the longer prefix.
func TestDestinations(t *testing.T) {
	b := newBench(t,
		Rule{Name: "ours", Numbers: []string{"+4990055"}, Action: "alarm"},
		Rule{Name: "premium", Numbers: []string{"+4990", "0900", "+49900"}, Code: 603},
		Rule{Name: "satellite", Numbers: []string{"+881", "+882"}, From: []string{"pbx", anna}},
		Rule{Name: "hall", From: []string{"299"}},
		Rule{Name: "trial", Numbers: []string{"1"}, Shadow: true},
		Rule{Name: "strangers", From: []string{"strangers"}, Numbers: []string{"9"}},
		Rule{Name: "carrier", From: []string{"itsp"}, Numbers: []string{"7"}},
	)
	stranger := Call{Kind: Stranger, AoR: anna, Source: netip.MustParseAddr("192.0.2.1")}
	pbx := Call{Kind: PBX, AoR: anna, Trunk: "itsp"}
	trunk := Call{Kind: Trunk, Trunk: "itsp", Source: netip.MustParseAddr("203.0.113.20")}
	other := Call{Kind: Trunk, Trunk: "other"}
	for _, tt := range []struct {
		who    Call
		number string
		rule   string // that refuses; empty: none
		figure string
	}{
		{phone(anna, ""), "+49301", "", ""},
		{phone(anna, ""), "0900123", "premium", "the number begins with 0900"},
		{phone(anna, ""), "0049-900.1", "premium", "the number begins with +49900"},
		{phone(anna, ""), "+4990055123", "", ""},
		{phone(anna, ""), "+88160", "satellite", "the number begins with +881"},
		{phone(bert, ""), "+88160", "", ""},
		{pbx, "+88260", "satellite", "the number begins with +882"},
		{phone("299@example.com", ""), "100", "hall", "it names every number"},
		{phone("299@elsewhere.example", ""), "100", "hall", "it names every number"},
		{phone("2990@example.com", ""), "100", "", ""},
		{phone(anna, ""), "100", "", ""},
		{stranger, "900", "strangers", "the number begins with 9"},
		{stranger, "+88160", "", ""}, // his name is anybody's
		{phone(anna, ""), "900", "", ""},
		{trunk, "700", "carrier", "the number begins with 7"},
		{trunk, "0900", "", ""}, // no rule names the trunk
		{other, "700", "", ""},
		{phone(anna, ""), "itsp", "", ""},
	} {
		tt.who.Number = tt.number
		_, v := b.begin(tt.who)
		if v.Rule != tt.rule || v.Refuse != (tt.rule != "") || v.Figure != tt.figure || v.Key != "" {
			t.Errorf("%s of %s: %+v, want rule %q", tt.number, tt.who.who(), v, tt.rule)
		}
		if want := map[string]int{"": 0, "premium": 603}[tt.rule]; v.Refuse && want != 0 && v.Code != want {
			t.Errorf("%s: code %d", tt.number, v.Code)
		}
	}
	var hits []string
	for _, h := range b.l.Hits() {
		hits = append(hits, fmt.Sprint(h.Path, " ", h.Name, " ", h.Enforced, " ", h.Shadow))
	}
	want := []string{
		"policy.calls[0] ours 1 0", "policy.calls[1] premium 2 0", "policy.calls[2] satellite 2 0", "policy.calls[3] hall 2 0",
		"policy.calls[4] trial 0 2", "policy.calls[5] strangers 1 0", "policy.calls[6] carrier 1 0",
	}
	if !slices.Equal(hits, want) {
		t.Errorf("hits %q", hits)
	}
}

func TestConcurrent(t *testing.T) {
	b := newBench(t, Rule{Name: "each", Per: "aor", Concurrent: 4})
	var open []uint64
	for range 4 {
		id, v := b.begin(phone(anna, "100"))
		if v.Refuse {
			t.Fatal(v)
		}
		open = append(open, id)
	}
	_, v := b.begin(phone(anna, "100"))
	if !v.Refuse || v.Code != 403 || v.Key != "aor "+anna || v.Figure != "4 of 4 calls at a time" || !v.Clears.IsZero() {
		t.Errorf("the fifth: %+v", v)
	}
	if got := v.Text(time.UTC); got != `rule "each": aor 204@example.com has used 4 of 4 calls at a time, clears when one of them ends` {
		t.Error(got)
	}
	if !b.passes(phone(bert, "100")) {
		t.Error("another's calls are his own")
	}
	if !b.passes(Call{Kind: PBX, AoR: anna, Number: "100"}) {
		t.Error("the PBX's half of a phone's call would count twice")
	}
	b.l.End(b.now, open[0])
	b.l.End(b.now, open[0]) // an end that is told twice is one end
	b.l.End(b.now, 999)
	if !b.passes(phone(anna, "100")) {
		t.Error("one has ended")
	}
	for _, id := range open {
		b.l.End(b.now, id)
	}
	if b.l.Open() != 0 {
		t.Errorf("%d calls are open", b.l.Open())
	}
	for range 4 {
		if _, v := b.begin(phone(anna, "100")); v.Refuse {
			t.Fatal("all have ended", v)
		}
	}
}

func TestPerMinute(t *testing.T) {
	b := newBench(t, Rule{Name: "each", Per: "aor", PerMinute: 10})
	for i := range 10 {
		if !b.passes(phone(anna, "100")) {
			t.Fatalf("call %d of ten", i+1)
		}
	}
	_, v := b.begin(phone(anna, "100"))
	if !v.Refuse || v.Figure != "10 of 10 calls a minute" || v.Clears != b.now.Add(6*time.Second) {
		t.Errorf("the eleventh: %+v", v)
	}
	if got := v.Text(time.UTC); !strings.HasSuffix(got, "10 of 10 calls a minute, clears at 10:30:06") {
		t.Error(got)
	}
	b.now = v.Clears.Add(-time.Millisecond)
	if b.passes(phone(anna, "100")) {
		t.Error("too early")
	}
	b.now = v.Clears
	if !b.passes(phone(anna, "100")) || b.passes(phone(anna, "100")) {
		t.Error("one more, and one only")
	}
	b.now = b.now.Add(time.Hour)
	n := 0
	for b.passes(phone(anna, "100")) {
		n++
	}
	if n != 10 {
		t.Errorf("after an hour %d at once, want 10", n)
	}
}

func TestMinutesPerDay(t *testing.T) {
	b := newBench(t, Rule{Name: "each", Per: "aor", MinutesPerDay: 60})
	if alarms := b.talk(phone(anna, "100"), 30*time.Minute); len(alarms) != 0 { // 10:30–11:00
		t.Errorf("after half: %v", alarms)
	}
	alarms := b.talk(phone(anna, "100"), 20*time.Minute) // 11:00–11:20
	if len(alarms) != 1 || alarms[0].Key != "aor "+anna || alarms[0].Figure != "50 of 60 minutes a day" || alarms[0].Refuse || alarms[0].Rule != "each" {
		t.Errorf("after five sixths: %+v", alarms)
	}
	if alarms := b.talk(phone(anna, "100"), time.Minute); len(alarms) != 0 {
		t.Errorf("told again: %v", alarms)
	}
	id, _ := b.begin(phone(anna, "100"))
	b.now = b.now.Add(time.Hour)
	if !b.passes(phone(anna, "100")) {
		t.Error("a call that rings costs no minute")
	}
	b.l.Answered(b.now, id)
	b.now = b.now.Add(8 * time.Minute)
	if !b.passes(phone(anna, "100")) {
		t.Error("59 minutes are less than 60")
	}
	b.now = b.now.Add(time.Minute)
	_, v := b.begin(phone(anna, "100"))
	if !v.Refuse || v.Figure != "60 of 60 minutes a day" {
		t.Fatalf("with a call in progress: %+v", v)
	}
	b.now = b.now.Add(time.Minute) // it is not cut
	b.l.End(b.now, id)
	if !b.passes(phone(bert, "100")) {
		t.Error("another's day is his own")
	}
	_, v = b.begin(phone(anna, "100"))
	if want := time.Date(2026, 3, 2, 11, 0, 0, 0, time.UTC); !v.Refuse || !v.Clears.Equal(want) {
		t.Errorf("clears at %v, want %v", v.Clears, want)
	}
	b.now = v.Clears.Add(-time.Second)
	if b.passes(phone(anna, "100")) {
		t.Error("too early")
	}
	b.now = v.Clears
	if !b.passes(phone(anna, "100")) {
		t.Error("the first half hour is a day old")
	}
	b.now = b.now.Add(48 * time.Hour)
	if a := b.l.books[0].accounts[accountKey{kind: Phone, name: anna}]; a.used(b.now, birth) != 0 || !a.idle(b.now, b.l.books[0].rule) {
		t.Errorf("two days later %v are left", a.used(b.now, birth))
	}
}

// TestADayIsNearlyOver: calls that run are looked at once a minute, and the alarm comes again on another day.
func TestADayIsNearlyOver(t *testing.T) {
	b := newBench(t, Rule{Name: "each", Per: "aor", MinutesPerDay: 100})
	id, _ := b.begin(phone(anna, "100"))
	b.l.Answered(b.now, id)
	var told []string
	for range 99 * 60 {
		b.now = b.now.Add(time.Second)
		for _, a := range b.l.Tick(b.now) {
			told = append(told, fmt.Sprint(b.now.Sub(birth), " ", a.Key, " ", a.Figure))
		}
	}
	b.l.End(b.now, id)
	if want := []string{"1h20m0s aor " + anna + " 80 of 100 minutes a day"}; !slices.Equal(told, want) {
		t.Errorf("%q", told)
	}
	b.now = b.now.Add(72 * time.Hour)
	b.talk(phone(anna, "100"), time.Minute)
	if alarms := b.talk(phone(anna, "100"), 85*time.Minute); len(alarms) != 1 {
		t.Errorf("another day: %v", alarms)
	}
}

func TestPerTrunkAndPerSource(t *testing.T) {
	b := newBench(t,
		Rule{Name: "channels", Per: "trunk", Concurrent: 2},
		Rule{Name: "house", Per: "source", Concurrent: 2, From: []string{"phones", "strangers"}},
		Rule{Name: "carrier", Per: "source", Concurrent: 1, From: []string{"slow"}},
	)
	in := Call{Kind: Trunk, Trunk: "itsp", Source: netip.MustParseAddr("203.0.113.20"), Number: "100"}
	out := Call{Kind: PBX, Trunk: "itsp", AoR: anna, Number: "100"}
	b.begin(in)
	b.begin(out)
	if _, v := b.begin(in); v.Rule != "channels" || v.Key != "trunk itsp" {
		t.Errorf("both ways share the trunk: %+v", v)
	}
	if !b.passes(Call{Kind: PBX, Trunk: "other", Number: "1"}) || !b.passes(Call{Kind: PBX, Number: "1"}) {
		t.Error("another trunk, or none")
	}
	for _, s := range []struct{ first, second, other string }{
		{"198.51.100.7", "198.51.100.7", "198.51.100.8"}, {"2001:db8:1::1", "2001:db8:1::ffff", "2001:db8:2::1"},
		{"::ffff:198.51.100.9", "198.51.100.9", "198.51.100.10"},
	} {
		at := func(a string) Call { return Call{Kind: Stranger, Source: netip.MustParseAddr(a), Number: "1"} }
		b.begin(at(s.first))
		b.begin(at(s.second))
		if b.passes(at(s.first)) {
			t.Errorf("%s and %s are one source", s.first, s.second)
		}
		if !b.passes(at(s.other)) {
			t.Errorf("%s is another than %s", s.other, s.first)
		}
	}
	slow := Call{Kind: Trunk, Trunk: "slow", Source: netip.MustParseAddr("203.0.113.30"), Number: "100"}
	b.begin(slow)
	if _, v := b.begin(slow); v.Rule != "carrier" || v.Key != "source 203.0.113.30" {
		t.Errorf("%+v", v)
	}
}

// TestAChallengedCallCountsOnce: the PBX asks for a password, the phone calls again with it.
func TestAChallengedCallCountsOnce(t *testing.T) {
	b := newBench(t,
		Rule{Name: "trial", Numbers: []string{"0"}, Shadow: true},
		Rule{Name: "dear", Numbers: []string{"0180"}, Action: "alarm"},
		Rule{Name: "each", Per: "aor", PerMinute: 3, Concurrent: 1},
	)
	for i := range 3 {
		id, v := b.begin(phone(anna, "0180"))
		if v.Refuse {
			t.Fatalf("call %d: %+v", i, v)
		}
		b.l.Forgive(b.now, id)
		b.l.Forgive(b.now, id) // twice is once
		id, v = b.begin(phone(anna, "0180"))
		if v.Refuse {
			t.Fatalf("its retry %d: %+v", i, v)
		}
		b.l.End(b.now, id)
		b.l.Forgive(b.now, id) // too late
	}
	if b.passes(phone(anna, "0180")) {
		t.Error("the fourth within a minute")
	}
	if h := b.l.Hits(); h[0].Shadow != 3 || h[1].Enforced != 3 || h[2].Enforced != 1 {
		t.Errorf("hits %+v", h)
	}
}

// TestAlarm: the call goes on, counted; the log hears of it once a minute.
func TestAlarm(t *testing.T) {
	b := newBench(t, Rule{Name: "dear", Numbers: []string{"0180"}, Action: "alarm"}, Rule{Name: "each", Per: "aor", Concurrent: 1, Action: "alarm"})
	id, v := b.begin(phone(anna, "0180-5"))
	if v.Refuse || len(v.Alarms) != 1 || v.Alarms[0].Rule != "dear" || v.Alarms[0].Key != "aor "+anna || v.Alarms[0].Number != "0180-5" || v.Alarms[0].AoR != anna {
		t.Errorf("%+v", v)
	}
	_, v = b.begin(phone(anna, "0180-5"))
	if v.Refuse || len(v.Alarms) != 1 || v.Alarms[0].Rule != "each" || v.Alarms[0].Figure != "1 of 1 calls at a time" {
		t.Errorf("the second: %+v", v)
	}
	if _, v = b.begin(phone(anna, "0180-5")); v.Refuse || len(v.Alarms) != 0 {
		t.Errorf("told within the minute: %+v", v)
	}
	if _, v = b.begin(phone(bert, "0180-5")); len(v.Alarms) != 1 || v.Alarms[0].Key != "aor "+bert {
		t.Errorf("another's: %+v", v)
	}
	b.now = b.now.Add(time.Minute)
	if _, v = b.begin(phone(anna, "0180-5")); len(v.Alarms) != 2 {
		t.Errorf("a minute later: %+v", v)
	}
	if h := b.l.Hits(); h[0].Enforced != 5 || h[1].Enforced != 3 {
		t.Errorf("hits %+v", h)
	}
	b.l.End(b.now, id)
}

// TestShadow: what it would do is counted as if it did it, and nothing else happens.
func TestShadow(t *testing.T) {
	b := newBench(t, Rule{Name: "each", Per: "aor", PerMinute: 10, Shadow: true})
	for range 15 {
		if _, v := b.begin(phone(anna, "100")); v.Refuse || len(v.Alarms) != 0 {
			t.Fatalf("%+v", v)
		}
	}
	if h := b.l.Hits(); h[0].Shadow != 5 || h[0].Enforced != 0 {
		t.Errorf("%+v", h)
	}
	b.now = b.now.Add(6 * time.Second)
	b.begin(phone(anna, "100"))
	if h := b.l.Hits(); h[0].Shadow != 5 {
		t.Errorf("those it would have refused use nothing: %+v", h)
	}
}

// TestARefusalLeavesNothingBehind: what an earlier rule of the file would have counted is not counted.
func TestARefusalLeavesNothingBehind(t *testing.T) {
	b := newBench(t, Rule{Name: "each", Per: "aor", PerMinute: 2}, Rule{Name: "premium", Numbers: []string{"0900"}})
	for range 5 {
		if b.passes(phone(anna, "0900")) {
			t.Fatal("it passes")
		}
	}
	for i, want := range []bool{true, true, false} {
		if got := b.passes(phone(anna, "100")); got != want {
			t.Errorf("call %d passes: %v; refused calls count among those a minute?", i, got)
		}
	}
}

// TestWhatANumberIsTakenFor: what refuses one of the numbers that a call may reach refuses the call, whatever a rule above lets pass
// of another; a budget is used once.
func TestWhatANumberIsTakenFor(t *testing.T) {
	b := newBench(t,
		Rule{Name: "ours", Numbers: []string{"+11", "030"}, Action: "alarm"},
		Rule{Name: "premium", Numbers: []string{"+3719", "+53"}},
		Rule{Name: "abroad", Numbers: []string{"+371", "+11"}, Per: "aor", Concurrent: 2},
	)
	for _, tt := range []struct {
		number string
		reads  []string
		rule   string
		figure string
	}{
		{"90123456", nil, "", ""},
		{"90123456", []string{"+37190123456"}, "premium", "the number begins with +3719"},
		{"001137190123456", []string{"+37190123456"}, "premium", "the number begins with +3719"}, // "00" is no prefix in Australia
		{"0301234", []string{"+49301234", "+530301234"}, "premium", "the number begins with +53"},
		{"0301234", []string{"+49301234"}, "", ""},
		{"1", []string{"2", "3", "4", "5", "6", "7", "8", "+53"}, "", ""}, // bounded
	} {
		c := phone(anna, tt.number)
		c.Reads = tt.reads
		id, v := b.begin(c)
		if v.Rule != tt.rule || v.Refuse != (tt.rule != "") || v.Figure != tt.figure {
			t.Errorf("%s %v: %+v, want rule %q", tt.number, tt.reads, v, tt.rule)
		}
		b.l.End(b.now, id)
	}
	for i, refuse := range []bool{false, false, true} {
		c := phone(bert, "001137112345678")
		c.Reads = []string{"+37112345678"}
		if _, v := b.begin(c); v.Refuse != refuse {
			t.Errorf("call %d: %+v", i, v)
		}
	}
}
