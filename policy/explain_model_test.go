package policy

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport/nat"
)

// TestExplainTellsWhatCheckWillDo asks for an explanation and then sends the last message again, as a new request: it
// must meet what was foretold, and the counts must be those of a plain list.
func TestExplainTellsWhatCheckWillDo(t *testing.T) {
	doors := []*nat.Interface{outsidePhones, outsideTrunks, insideTrunks}
	sources := []string{"192.0.2.66", "198.51.100.7", "203.0.113.20", "10.0.0.10", "10.9.9.9"}
	rapid.Check(t, func(t *rapid.T) {
		c := drawTwinConfig(t)
		g := newGuard(&testing.T{}, c)
		now := noon
		refused, passed, methods := map[string]uint32{}, map[string]uint32{}, map[string]map[string]uint32{}
		for n := range rapid.IntRange(1, 60).Draw(t, "messages") {
			now = now.Add(time.Duration(rapid.IntRange(0, 4).Draw(t, "step")) * 250 * time.Millisecond)
			source, i := rapid.SampledFrom(sources).Draw(t, "source"), rapid.SampledFrom(doors).Draw(t, "door")
			m := msg{method: rapid.SampledFrom([]string{"INVITE", "REGISTER", "OPTIONS", "SUBSCRIBE"}).Draw(t, "method"),
				agent: rapid.SampledFrom([]string{"fine", "Evil phone"}).Draw(t, "agent")}
			for _, again := range []bool{false, true} {
				m.branch = fmt.Sprint("z9hG4bK", n, again)
				x := g.Explain(now, netip.MustParseAddr(source))
				v := send(g, now, i, source, m.bytes())
				if again {
					if got := says(v); got != strings.TrimSpace(fmt.Sprintf("%s %s", codeText(x.Now), x.Now.Reason)) || x.Allowed != (v.Action == Allow) {
						t.Fatalf("message %d: foretold %s %d %s, allowed %v; it met %s", n, x.Now.Action, x.Now.Code, x.Now.Reason, x.Allowed, got)
					}
				}
				if v.Action == Allow {
					passed[source]++
					continue
				}
				refused[source]++
				if methods[source] == nil {
					methods[source] = map[string]uint32{}
				}
				methods[source][m.method]++
			}
		}
		for _, source := range sources {
			compareSeen(t, g.Explain(now, netip.MustParseAddr(source)), refused[source], passed[source], methods[source])
		}
	})
}

func codeText(m Meeting) string {
	if m.Code != 0 {
		return fmt.Sprintf("%s %d", m.Action, m.Code)
	}
	return m.Action
}

func compareSeen(t *rapid.T, x Explanation, refused, passed uint32, methods map[string]uint32) {
	if x.Seen == nil {
		if refused+passed != 0 {
			t.Fatalf("no record of %s", x.Address)
		}
		return
	}
	if x.Seen.Refused != refused || x.Seen.Passed != passed {
		t.Fatalf("%s: %d refused and %d passed, counted %d and %d", x.Address, x.Seen.Refused, x.Seen.Passed, refused, passed)
	}
	for m, n := range methods {
		if x.Seen.Methods[m] != n {
			t.Fatalf("%s: %d %s refused, counted %d", x.Address, x.Seen.Methods[m], m, n)
		}
	}
	sum := uint32(0)
	for _, n := range x.Seen.Reasons {
		sum += n
	}
	if sum != refused {
		t.Fatalf("%s: reasons add up to %d of %d", x.Address, sum, refused)
	}
	if !slices.IsSortedFunc(x.Last, func(a, b RecordedPacket) int { return b.At.Compare(a.At) }) {
		t.Fatal("records are not newest first")
	}
}

// TestExplanationAsJSON pins the keys that scripts read.
func TestExplanationAsJSON(t *testing.T) {
	g := newGuard(t, &Config{RateLimits: []RateLimitConfig{{Name: "all", Limits: map[string]string{"REGISTER": "2/minute"}, Burst: ptr(1)}}})
	for n := range 3 {
		send(g, noon.Add(time.Duration(n)*time.Second), outsidePhones, phone, msg{method: "REGISTER", branch: fmt.Sprint("z9hG4bK", n), agent: "Snom"}.bytes())
	}
	x := explainOf(g, noon.Add(3*time.Second), "198.51.100.7")
	got, err := json.MarshalIndent(x, "", "  ")
	must(t, err)
	got = append(got, '\n')
	const path = "testdata/why/limited.json"
	if *update {
		must(t, os.WriteFile(path, got, 0o644))
	}
	want, err := os.ReadFile(path)
	must(t, err)
	if string(got) != string(want) {
		t.Errorf("JSON is\n%s\nwant\n%s", got, want)
	}
}

func TestExplainOfAShadowedRuleSetAndLongMemory(t *testing.T) {
	g := newGuard(t, &Config{DenyUserAgents: []UserAgentConfig{{Match: "evil", Action: "reject"}}})
	for n := range 12 {
		data := strings.ReplaceAll(string(msg{agent: "evil", branch: fmt.Sprint("z9hG4bK", n)}.bytes()), "sip:204@", fmt.Sprintf("sip:%d@", 200+n))
		send(g, noon.Add(time.Duration(n)*2*time.Hour), outsidePhones, "192.0.2.66", []byte(data))
	}
	x := explainOf(g, noon.Add(23*time.Hour), "192.0.2.66")
	text := x.Text(time.UTC)
	for _, want := range []string{
		"now     REFUSED  policy.deny_user_agents[0] rule \"evil\" (answered 403)\n",
		"since   2026-03-01 12:00:00: 12 refused (12 INVITE), 12 phones without registration: 211 210 209 208 207 206 205 204 …\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	// Banned by evidence, banned without words.
	must(t, g.Bans().Add(noon, Ban{Prefix: netip.MustParsePrefix("192.0.2.66/32"), Auto: true}))
	x = explainOf(g, noon, "192.0.2.66")
	if text = x.Text(time.UTC); !strings.Contains(text, "BANNED  192.0.2.66/32, until removed (silence)") {
		t.Error(text)
	}
	// A stranger who is answered, and one who meets a full table.
	g = newGuard(t, &Config{Strangers: StrangersConfig{Phones: "answer"}, Phones: PhonesConfig{Registrar: true}})
	send(g, noon, outsidePhones, "192.0.2.66", msg{method: "OPTIONS"}.bytes())
	x = explainOf(g, noon, "192.0.2.66")
	if text = x.Text(time.UTC); !strings.Contains(text, "REFUSED  stranger (answered 200 here)") || !strings.Contains(text, "let the phone register first") {
		t.Error(text)
	}
}

func TestExplainSaysWhenTheTableIsFull(t *testing.T) {
	alone(t)
	g := newGuard(t, scarce("INVITE"))
	for n := range uint32(20_000) {
		send(g, noon, outsidePhones, addr4(n+1).String(), msg{}.bytes())
	}
	for range 2 { // among so many, who comes once leaves no record
		send(g, noon, outsidePhones, "192.0.2.66", msg{}.bytes())
	}
	x := explainOf(g, noon, "192.0.2.66")
	if len(x.Buckets) != 1 || !x.Buckets[0].Shared || x.Now.Reason != "limit-exceeded" {
		t.Errorf("%+v %+v", x.Now, x.Buckets)
	}
	if x = explainOf(g, noon.Add(48*time.Hour), "192.0.2.66"); x.Buckets[0].Shared || x.Buckets[0].Left != 1 {
		t.Errorf("two days later %+v", x.Buckets)
	}
}

func TestRulesAreListedInTheOrderOfTheFile(t *testing.T) {
	r := compile(t, busyConfig())
	var got []string
	for _, info := range r.Rules() {
		if info.Kind != "user-agent" {
			got = append(got, info.Path)
		}
	}
	want := "policy.white_list[0] policy.black_list[0] policy.rate_limits[0] policy.rate_limits[1] policy.rate_limits[2]"
	if strings.Join(got, " ") != want {
		t.Error(got)
	}
	if r.Limit(0) != "* 10/second burst 60" || r.Limit(-1) != "" || r.Limit(99) != "" {
		t.Error(r.Limit(0))
	}
	if _, ok := r.Rule(99); ok {
		t.Error("a rule that does not exist")
	}
}
