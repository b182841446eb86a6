package replay

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/time/rate"
	"pgregory.net/rapid"

	"sallyport/policy"
	"sallyport/sbc/config"
	"sallyport/sbc/reason"
)

// week is traffic to learn from: homes with a phone or two, an office that comes back after an outage, and strangers.
func week(t testing.TB) *tape { return weekWith(t, 3) }

// weekWith is the same with so many tries of each phone of the office.
func weekWith(t testing.TB, tries int) *tape {
	c := newTape(t)
	c.lasts = 900
	for h := range 10 {
		home := fmt.Sprintf("198.51.100.%d:40001", 100+h)
		user := fmt.Sprint(300 + h)
		c.registers(home, user, "home"+user, 1).wait(7 * time.Second)
	}
	desk := func(p int) (string, string) { return fmt.Sprintf("%s:%d", office, 41000+p), fmt.Sprint(400 + p) }
	for round := range 3 {
		c.wait(5 * time.Minute)
		for p := range 12 { // all at once, and each tries three times
			at, user := desk(p)
			for try := range tries {
				c.registers(at, user, fmt.Sprintf("desk%s-%d-%d", user, round, try), 1)
			}
		}
		for h := range 10 {
			home := fmt.Sprintf("198.51.100.%d:40001", 100+h)
			c.callsOut(home, fmt.Sprint(300+h)).registers(home, fmt.Sprint(300+h), "home"+fmt.Sprint(300+h), 3+2*round).wait(10 * time.Second)
		}
	}
	c.scans(4).udp("192.0.2.78:5060", gatePhones, sip{method: "REGISTER", user: "9", callID: "once"}.String())
	for i := range 30 { // with a phone's name, and without success
		c.logsIn("192.0.2.77:5060", "204", fmt.Sprintf("crack%d", i), 1, 401).wait(time.Second)
	}
	return c
}

func suggestFrom(t testing.TB, c *tape, o SuggestOptions) *Suggestion {
	t.Helper()
	s := setup(func(c *policy.Config) { c.DenyUserAgents = nil })
	x, err := Suggest(c.open(), s, o)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func TestSuggest(t *testing.T) {
	x := suggestFrom(t, week(t), SuggestOptions{Margin: -1})
	golden(t, "suggest.txt", x.Text(time.UTC))
	if len(x.LeftOut) != 3 || x.LeftOut[0].Why != "never registered" || x.LeftOut[1].Why != "refused: ban" {
		t.Errorf("%+v", x.LeftOut)
	}
	if x.Sources != 11 || x.Percentile != 99 || x.Margin != 50 {
		t.Errorf("%+v", x)
	}
}

// TestOfficesStandOut: an office that the rule for all would refuse gets one of its own.
func TestOfficesStandOut(t *testing.T) {
	x := suggestFrom(t, weekWith(t, 8), SuggestOptions{Percentile: 50, Margin: 20})
	golden(t, "suggest_office.txt", x.Text(time.UTC))
	if len(x.Rules) != 2 || x.Limits[1].Phones != 12 || x.Limits[1].PerPhone || x.Predicted.Requests != 0 {
		t.Errorf("%+v %+v", x.Limits, x.Predicted)
	}
}

// loaded is a configuration of a file as `sbc run` reads it.
func loaded(t *testing.T, policyText string) *policy.Config {
	t.Helper()
	text := `outside: { address: 203.0.113.10, phones: { udp: 5060, tcp: 5060 }, trunks: { udp: 5080 } }
inside: { address: 10.0.0.2 }
pbx: { domain: example.com, nodes: [ { address: "10.0.0.10:5060" } ] }
` + policyText
	snap, report := config.Parse("sbc.yaml", []byte(text), config.Flags{})
	if snap == nil {
		t.Fatalf("%s\n%s", report.Full(), text)
	}
	return snap.Policy.Guard()
}

// TestPredictionHolds: what is printed, pasted into a file and loaded does to the same capture what was said.
func TestPredictionHolds(t *testing.T) {
	c := weekWith(t, 8)
	for _, o := range []SuggestOptions{{Percentile: 99, Margin: 50}, {Percentile: 50, Margin: 0}, {Percentile: 100, Margin: 0}, {Percentile: 90, Margin: 20}} {
		x := suggestFrom(t, c, o)
		s := setup(nil)
		s.Config = loaded(t, x.Text(time.UTC))
		p := run1(t, c, s)
		left := map[netip.Addr]bool{}
		for _, l := range x.LeftOut {
			left[l.Address] = true
		}
		requests, sources := uint64(0), 0
		for i := range p.Sources {
			a := &p.Sources[i]
			n := uint64(0)
			for k := range a.Refusals {
				if a.Refusals[k].Reason == reason.LimitExceeded {
					n += a.Refusals[k].Count
				}
			}
			if n > 0 && !left[a.Address] {
				requests, sources = requests+n, sources+1
			}
		}
		if requests != x.Predicted.Requests || sources != x.Predicted.Sources {
			t.Errorf("%+v: predicted %d requests of %d sources, it is %d of %d\n%s", o, x.Predicted.Requests, x.Predicted.Sources, requests, sources, x.Text(time.UTC))
		}
		if o.Percentile >= 99 && requests > 0 {
			t.Errorf("%+v refuses %d requests:\n%s", o, requests, x.Text(time.UTC))
		}
	}
}

func TestNothingToLearn(t *testing.T) {
	if _, err := Suggest(newTape(t).scans(3).open(), setup(nil), SuggestOptions{}); err == nil {
		// Without the shipped list the scanner is only a stranger; without an answer nobody can tell it from a phone.
		t.Log("learned from a stranger")
	}
	s := setup(func(c *policy.Config) { c.DenyUserAgents = nil })
	if _, err := Suggest(newTape(t).scans(3).open(), s, SuggestOptions{}); err == nil || !strings.Contains(err.Error(), "nothing to learn from") {
		t.Error(err)
	}
	for _, o := range []SuggestOptions{{Percentile: 0.5}, {Percentile: 101}, {Percentile: 99, Margin: 1e9}} {
		if _, err := Suggest(week(t).open(), s, o); err == nil || !strings.Contains(err.Error(), "percentile") {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

// TestBurstIsTheSmallest: with it a token bucket lets every request pass, with one less it does not.
func TestBurstIsTheSmallest(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		gaps := rapid.SliceOfN(rapid.IntRange(0, 30_000), 1, 60).Draw(rt, "gaps")
		perMinute := rapid.IntRange(1, 120).Draw(rt, "rate")
		var at []time.Duration
		now := time.Duration(0)
		for _, g := range gaps {
			now += time.Duration(g) * time.Millisecond
			at = append(at, now)
		}
		p := pupil{requests: map[string][]time.Duration{"REGISTER": at}}
		need := int(math.Ceil(p.burst("REGISTER", float64(perMinute)) - 1e-6))
		passes := func(burst int) bool {
			l := rate.NewLimiter(rate.Limit(float64(perMinute)/60), burst)
			return !slices.ContainsFunc(at, func(d time.Duration) bool { return !l.AllowN(noon.Add(d+time.Microsecond), 1) })
		}
		if !passes(need) || need > 1 && passes(need-1) {
			rt.Fatalf("%d is not the smallest for %d/minute", need, perMinute)
		}
	})
}

func TestPercentile(t *testing.T) {
	values := func() []float64 { return []float64{5, 1, 4, 2, 3} }
	for p, want := range map[float64]float64{1: 1, 20: 1, 21: 2, 50: 3, 99: 5, 100: 5} {
		if got := percentile(values(), p); got != want {
			t.Errorf("%g: %g, want %g", p, got, want)
		}
	}
	if percentile(nil, 50) != 0 {
		t.Error("of nothing")
	}
}

func TestScalars(t *testing.T) {
	for in, want := range map[string]string{"any": "any", "198.51.100.7/32": "198.51.100.7/32", "2001:db8::/64": `"2001:db8::/64"`, "a: b": `"a: b"`} {
		if got := scalar(in); got != want {
			t.Errorf("%q: %s", in, got)
		}
	}
}
