package route

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func compile(t testing.TB, patterns ...string) []*regexp.Regexp {
	t.Helper()
	var out []*regexp.Regexp
	for _, p := range patterns {
		re, err := Compile(p)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, re)
	}
	return out
}

// names is a plan as text: steps apart by blanks, members by commas.
func names(plan []Step) string {
	var steps []string
	for _, s := range plan {
		var in []string
		for _, m := range s {
			in = append(in, m.Trunk)
		}
		steps = append(steps, strings.Join(in, ","))
	}
	return strings.Join(steps, " ")
}

func TestOutboundKeepsFileOrder(t *testing.T) {
	germany, _ := CountryOf("DE")
	trunks := []Trunk{
		{Name: "national", Match: compile(t, `0[1-9][0-9]+`)},
		{Name: "all", Match: compile(t, `\+?[0-9]{2,15}`)},
		{Name: "berlin", Match: compile(t, `110`, `\+4930[0-9]+`)},
		{Name: "inbound only"},
	}
	abroad, home := New(Config{Trunks: trunks}), New(Config{Trunks: trunks, Country: germany})
	for _, tt := range []struct {
		scheme, user, abroad, home string
	}{
		{"sip", "030123456", "national all", "national all berlin"}, // it is +4930123456
		{"sip", "+4930123456", "all berlin", "all berlin"},
		{"tel", "+49-30-123456", "all berlin", "all berlin"},
		{"sip", "x030123", "", ""}, // anchored: a number within a name is none
		{"sip", "030123x", "", ""},
		{"sip", "110", "all berlin", "all berlin"},
		{"sip", "alice", "", ""},
		{"sip", "", "", ""},
	} {
		u := uri(tt.scheme, tt.user)
		if got := names(abroad.Outbound(abroad.Country().Read(u), false)); got != tt.abroad {
			t.Errorf("%s: %q, want %q", u, got, tt.abroad)
		}
		if got := names(home.Outbound(home.Country().Read(u), false)); got != tt.home {
			t.Errorf("%s at home: %q, want %q", u, got, tt.home)
		}
	}
}

func TestGroupsAndEmergency(t *testing.T) {
	every, some := compile(t, `[0-9]+`), compile(t, `1[0-9]+`)
	table := New(Config{
		Trunks: []Trunk{
			{Name: "a", Match: some},
			{Name: "w2", Match: some, Group: "west", Priority: 2, Weight: 1},
			{Name: "b", Match: every},
			{Name: "w1", Match: every, Group: "west", Priority: 1, Weight: 3},
			{Name: "e1", Match: every, Group: "east", Priority: 1},
			{Name: "w3", Match: every, Group: "west", Priority: 1, Weight: 5},
			{Name: "in"},
		},
		Emergency: []string{"in", "w1", "gone"},
	})
	for _, tt := range []struct {
		number    string
		emergency bool
		want      string
	}{
		{"123", false, "a w1,w3,w2 b e1"}, // w2 comes first in the file, and brings its group
		{"223", false, "b w1,w3 e1"},      // it does not take the number
		{"112", true, "in w1 a w3,w2 b e1"},
		{"x", true, "in w1"},
		{"x", false, ""},
	} {
		plan := table.Outbound(Dialled{Text: tt.number}, tt.emergency)
		if got := names(plan); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.number, got, tt.want)
		}
		for _, v := range table.Explain(Dialled{Text: tt.number}, tt.emergency) {
			if in := slices.Contains(strings.FieldsFunc(tt.want, func(r rune) bool { return r == ' ' || r == ',' }), v.Name); in != v.Holds {
				t.Errorf("%s: %+v, and the plan is %s", tt.number, v, tt.want)
			}
		}
	}
	if got := table.Outbound(Dialled{Text: "123"}, false)[1][0]; got != (Member{"w1", 1, 3}) {
		t.Error(got)
	}
}

func TestExplain(t *testing.T) {
	germany, _ := CountryOf("DE")
	table := New(Config{Country: germany, Emergency: []string{"c"}, Trunks: []Trunk{
		{Name: "a", Match: compile(t, `^0[1-9].*`), Group: "west", Priority: 1, Weight: 2},
		{Name: "b", Match: compile(t, `\+1.*`, `\+49.*`), Group: "west", Priority: 2, Weight: 1},
		{Name: "c"},
		{Name: "d", Match: compile(t, `00.*`)},
		{Name: "e", Match: compile(t, `00.*`, `110`)},
	}})
	d := germany.Read(uri("sip", "0301234567"))
	want := []Verdict{
		{"trunks[0]", "a", true, "outbound.match[0] '^0[1-9].*' fits 0301234567; group west, priority 1, weight 2"},
		{"trunks[1]", "b", true, "outbound.match[1] '\\+49.*' fits +49301234567; group west, priority 2, weight 1, brought by a"},
		{"trunks[2]", "c", false, "outbound.match is empty: calls come in only"},
		{"trunks[3]", "d", false, "outbound.match '00.*' does not fit 0301234567 or +49301234567"},
		{"trunks[4]", "e", false, "none of the 2 expressions of outbound.match fits 0301234567 or +49301234567"},
	}
	if diff := cmp.Diff(want, table.Explain(d, false)); diff != "" {
		t.Error(diff)
	}
	if got := table.Explain(d, true)[2]; got.Why != "emergency.trunks[0]: before all others" || !got.Holds {
		t.Error(got)
	}
	if got := table.Explain(Dialled{}, false)[3].Why; got != "outbound.match '00.*' does not fit nobody" {
		t.Error(got)
	}
}

func TestInbound(t *testing.T) {
	germany, _ := CountryOf("DE")
	table := New(Config{Country: germany, Inbound: []Inbound{
		{Trunks: []string{"itsp", "other"}, DID: compile(t, `\+4930555.*`), From: compile(t, `0172.*`), To: []string{"vip"}},
		{DID: compile(t, `\+4930555.*`, `555.*`), To: []string{"east", "west"}},
		{Trunks: []string{"other"}},
	}})
	for _, tt := range []struct {
		trunk, called, calling string
		want                   int
		why                    []string
	}{
		{"itsp", "03055512", "01721234567", 0, []string{
			"it is for this trunk, did '\\+4930555.*' fits +493055512, from '0172.*' fits 01721234567",
			"not asked: routes.inbound[0] fits", "not asked: routes.inbound[0] fits"}},
		{"third", "03055512", "01721234567", 1, []string{"it is for calls of itsp, other", "did '\\+4930555.*' fits +493055512",
			"not asked: routes.inbound[1] fits"}},
		{"itsp", "55512", "anonymous", 1, []string{"did '\\+4930555.*' does not fit 55512", "did '555.*' fits 55512", "not asked: routes.inbound[1] fits"}},
		{"itsp", "+493055512", "anonymous", 1, []string{"from '0172.*' does not fit anonymous", "did '\\+4930555.*' fits +493055512",
			"not asked: routes.inbound[1] fits"}},
		{"other", "100", "", 2, []string{"did '\\+4930555.*' does not fit 100", "did '\\+4930555.*', '555.*' does not fit 100", "it is for this trunk"}},
		{"itsp", "100", "", -1, []string{"did '\\+4930555.*' does not fit 100", "did '\\+4930555.*', '555.*' does not fit 100", "it is for calls of other"}},
	} {
		called, calling := germany.Read(uri("sip", tt.called)), germany.Read(uri("sip", tt.calling))
		if got := table.Inbound(tt.trunk, called, calling); got != tt.want {
			t.Errorf("%s to %s: rule %d, want %d", tt.trunk, tt.called, got, tt.want)
		}
		for i, v := range table.ExplainInbound(tt.trunk, called, calling) {
			if v.Why != tt.why[i] || v.Holds != (i == tt.want) || v.Key != fmt.Sprintf("routes.inbound[%d]", i) {
				t.Errorf("%s to %s: %+v, want %s", tt.trunk, tt.called, v, tt.why[i])
			}
		}
	}
	if got := table.Rule(1).To; !slices.Equal(got, []string{"east", "west"}) {
		t.Error(got)
	}
	all := New(Config{Inbound: []Inbound{{}}})
	if v := all.ExplainInbound("x", Dialled{}, Dialled{}); all.Inbound("x", Dialled{}, Dialled{}) != 0 || v[0].Why != "it is for every call" {
		t.Error(v)
	}
}

func TestCompileSaysWhatIsWrong(t *testing.T) {
	if _, err := Compile(`(`); err == nil {
		t.Fatal("a broken pattern must be an error")
	}
	// Anchors of the administrator do no harm.
	re, err := Compile(`^\+?[0-9]{2,15}$`)
	if err != nil || !re.MatchString("+49") || re.MatchString("+49\n") {
		t.Errorf("anchored twice: %v", err)
	}
}

func TestBeginnings(t *testing.T) {
	for expr, want := range map[string]string{
		`\+49.*`: "+49", `^\+4930[0-9]+$`: "+4930", `(0049|\+49).*`: "", `49|50`: "", `(?i)abc`: "", `a+b`: "a", `(ab)c`: "abc", `(ab)?c`: "",
		`[0-9]+`: "", `4930`: "4930", `(4930)`: "4930", `49(30)+1`: "4930", `49.*1`: "49", ``: "", `4[9]30`: "4930",
	} {
		re := compile(t, expr)[0]
		if got := beginning(re.String()); got != want {
			t.Errorf("%s begins with %q, want %q", expr, got, want)
		}
		if written(re) != expr {
			t.Errorf("%s was written %s", expr, written(re))
		}
	}
	if got := beginning("("); got != "" {
		t.Error(got)
	}
}

// naive is the same decision, made by going through everything for everything.
func naive(trunks []Trunk, urgent []string, d Dialled, emergency bool) string {
	takes := func(x Trunk) bool {
		for _, re := range x.Match {
			for _, text := range []string{d.Text, d.E164} {
				if (text != "" || text == d.Text) && regexp.MustCompile(re.String()).MatchString(text) {
					return true
				}
			}
		}
		return false
	}
	var steps []string
	done := map[string]bool{}
	if emergency {
		for _, name := range urgent {
			if slices.ContainsFunc(trunks, func(x Trunk) bool { return x.Name == name }) {
				steps, done[name] = append(steps, name), true
			}
		}
	}
	for _, x := range trunks {
		if done[x.Name] || !takes(x) {
			continue
		}
		step := ""
		for priority := range 4 {
			for _, y := range trunks {
				if !done[y.Name] && takes(y) && (y.Name == x.Name && x.Group == "" && priority == 0 || x.Group != "" && y.Group == x.Group && y.Priority == priority) {
					step, done[y.Name] = step+","+y.Name, true
				}
			}
		}
		steps = append(steps, step[1:])
	}
	return strings.Join(steps, " ")
}

func TestOutboundAgreesWithANaiveOne(t *testing.T) {
	patterns := []string{`0[1-9].*`, `\+49.*`, `\+4930.*`, `^\+1[0-9]{10}$`, `1.{2}`, `112`, `(0|\+49)30[0-9]+`, `[0-9]+`, `0049.*`, `(?i)alice`, `a+b.*`, `.*`}
	rapid.Check(t, func(t *rapid.T) {
		var trunks []Trunk
		for i := range rapid.IntRange(0, 8).Draw(t, "trunks") {
			x := Trunk{
				Name: fmt.Sprint("t", i), Group: rapid.SampledFrom([]string{"", "", "west", "east"}).Draw(t, "group"),
				Priority: rapid.IntRange(0, 3).Draw(t, "priority"),
			}
			for range rapid.IntRange(0, 2).Draw(t, "patterns") {
				re, err := Compile(rapid.SampledFrom(patterns).Draw(t, "pattern"))
				if err != nil {
					t.Fatal(err)
				}
				x.Match = append(x.Match, re)
			}
			trunks = append(trunks, x)
		}
		urgent := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"t0", "t1", "t2", "t9"}), 0, 3, rapid.ID).Draw(t, "emergency.trunks")
		c := rapid.SampledFrom([]*Country{nil, byCode["49"], byCode["1"]}).Draw(t, "country")
		d := c.Read(uri("sip", rapid.SampledFrom([]string{
			"030123456", "+4930123456", "112", "2015550123", "00493012345", "ALICE", "aab", "1xy", "", "+12015550123",
		}).Draw(t, "number")))
		emergency := rapid.Bool().Draw(t, "emergency call")
		table := New(Config{Country: c, Trunks: trunks, Emergency: urgent})
		got, want := names(table.Outbound(d, emergency)), naive(trunks, urgent, d, emergency)
		if got != want {
			t.Fatalf("%v: %q, want %q", d, got, want)
		}
		in := strings.FieldsFunc(want, func(r rune) bool { return r == ' ' || r == ',' })
		for _, v := range table.Explain(d, emergency) {
			if v.Holds != slices.Contains(in, v.Name) || v.Why == "" {
				t.Fatalf("%v: %+v, and the plan is %s", d, v, want)
			}
		}
	})
}

// FuzzPattern: whatever an administrator writes, what it begins with refuses nothing that it matches.
func FuzzPattern(f *testing.F) {
	f.Add(`^\+49(30|40)[0-9]+$`, "+493012")
	f.Add(`(?i)a+B(c)?`, "AABC")
	f.Add(`(?m)^a$|^b`, "b")
	f.Add(`(?s).\bx`, "\nx")
	f.Fuzz(func(t *testing.T, expr, text string) {
		re, err := Compile(expr)
		if err != nil {
			return
		}
		p := NewPatterns([]*regexp.Regexp{re})
		if i, _ := p.Match(Dialled{Text: text}); (i == 0) != re.MatchString(text) {
			t.Errorf("%s begins with %q, and %q fits is %v", expr, p.list[0].begins, text, re.MatchString(text))
		}
	})
}

func BenchmarkOutboundOfAThousandTrunks(b *testing.B) {
	cfg := Config{Country: byCode["49"]}
	for i := range 1000 {
		cfg.Trunks = append(cfg.Trunks, Trunk{Name: fmt.Sprint("t", i), Match: compile(b, fmt.Sprintf(`\+49%03d[0-9]{2,12}`, i+100))})
	}
	table := New(cfg)
	to := uri("sip", "+499991234567")
	b.ReportAllocs()
	for b.Loop() {
		if got := table.Outbound(table.Country().Read(to), false); len(got) != 1 {
			b.Fatal(got)
		}
	}
}

func BenchmarkInboundOfAThousandRules(b *testing.B) {
	cfg := Config{Country: byCode["49"]}
	for i := range 1000 {
		cfg.Inbound = append(cfg.Inbound, Inbound{Trunks: []string{"itsp"}, DID: compile(b, fmt.Sprintf(`\+49%03d.*`, i+100))})
	}
	table := New(cfg)
	to := uri("sip", "+4910991234567")
	b.ReportAllocs()
	for b.Loop() {
		if got := table.Inbound("itsp", table.Country().Read(to), Dialled{}); got != 9 {
			b.Fatal(got)
		}
	}
}
