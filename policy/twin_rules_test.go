package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gaissmai/bart"
	"pgregory.net/rapid"

	"sallyport/nat"
)

// twinData is what the twin's rules work with: Germany is where the stranger 192.0.2.66 sits, and the phone.
func twinData(t testing.TB) Data {
	return Data{
		Countries: world(t),
		Names:     map[string][]netip.Addr{"office.example.com": {netip.MustParseAddr("192.0.2.67"), netip.MustParseAddr("203.0.113.20")}},
		Feeds: map[string]*bart.Lite{"first": feedOf("192.0.2.66/32", "198.51.100.7/32", "203.0.113.20/32"),
			"second": feedOf("192.0.2.0/24", "2001:db8::1/128")},
	}
}

// drawTwinConfig draws rules of every kind over a handful of addresses. Rates and times are such that token counts are
// exact in binary.
func drawTwinConfig(t *rapid.T) *Config {
	ranges := rapid.SliceOfN(rapid.SampledFrom([]string{"192.0.2.66", "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "10.0.0.0/8",
		"any", "2001:db8::/64", "192.0.2.60-192.0.2.70"}), 1, 2)
	realms := rapid.SampledFrom([][]string{nil, nil, {"phones"}, {"trunks"}})
	word := func(words ...string) string { return rapid.SampledFrom(words).Draw(t, "word") }
	c := &Config{
		Strangers: StrangersConfig{Phones: word("silent", "answer"), Trunks: word("silent", "answer"), Rate: word("1/second", "4/second"),
			Burst: ptr(rapid.IntRange(1, 6).Draw(t, "budget"))},
		Phones:         PhonesConfig{Registrar: rapid.Bool().Draw(t, "registrar"), Unregistered: word("drop", "reject", "forward")},
		DenyUserAgents: []UserAgentConfig{{Match: "evil", Action: word("drop", "reject")}, {Match: "odd", Mode: "exact", Action: word("drop", "reject")}},
	}
	for range rapid.IntRange(0, 2).Draw(t, "white") {
		c.WhiteList = append(c.WhiteList, WhiteEntry{Range: ranges.Draw(t, "range"), Realms: realms.Draw(t, "realms"),
			Exempt: rapid.SliceOfNDistinct(rapid.SampledFrom(exemptionNames[:]), 0, 2, rapid.ID[string]).Draw(t, "exempt")})
	}
	for range rapid.IntRange(0, 1).Draw(t, "black") {
		c.BlackList = append(c.BlackList, BlackEntry{Range: ranges.Draw(t, "range"), Realms: realms.Draw(t, "realms"),
			Until: rapid.SampledFrom([]time.Time{{}, noon.Add(20 * time.Second)}).Draw(t, "until")})
	}
	for i := range rapid.IntRange(0, 4).Draw(t, "limits") {
		e := RateLimitConfig{Name: fmt.Sprint("rule ", i), Range: ranges.Draw(t, "range"), Realms: realms.Draw(t, "realms"),
			Limits: map[string]string{}, Burst: ptr(rapid.IntRange(1, 4).Draw(t, "burst")), Stack: rapid.Bool().Draw(t, "stack"),
			Action: word("drop", "reject", "ban", "alarm"), PerPhone: rapid.Bool().Draw(t, "per phone")}
		for _, m := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"INVITE", "REGISTER", "OPTIONS", "*", "unparseable"}), 1, 2, rapid.ID[string]).Draw(t, "m") {
			e.Limits[m] = word("1/second", "2/second", "4/second")
		}
		c.RateLimits = append(c.RateLimits, e)
	}
	return c
}

// drawTwinRules draws feeds, countries and message rules.
func drawTwinRules(t *rapid.T, c *Config) {
	word := func(words ...string) string { return rapid.SampledFrom(words).Draw(t, "word") }
	realms := rapid.SampledFrom([][]string{nil, nil, {"phones"}, {"trunks"}})
	c.Bans = BansConfig{Points: ptr(0)} // the twin does not count evidence
	c.DenyUserAgents[0].Action, c.DenyUserAgents[1].Action = word("drop", "reject", "ban", "alarm"), word("drop", "reject", "alarm")
	for _, name := range []string{"first", "second", "late"} {
		if rapid.IntRange(0, 5).Draw(t, "feed") == 0 {
			c.Feeds = append(c.Feeds, FeedConfig{Name: name, Realms: realms.Draw(t, "realms"), Shadow: rapid.IntRange(0, 3).Draw(t, "shadow") == 0})
		}
	}
	if rapid.IntRange(0, 4).Draw(t, "countries") == 0 {
		c.Countries = CountriesConfig{Mode: word("", "deny", "allow"), List: []string{word("DE", "FR")}, Realms: realms.Draw(t, "realms"),
			Unknown: word("", "deny"), Shadow: rapid.IntRange(0, 3).Draw(t, "shadow") == 0}
	}
	for range rapid.SampledFrom([]int{0, 0, 1, 3}).Draw(t, "rules") {
		e := MessageRuleConfig{Realms: realms.Draw(t, "realms"), Action: word("drop", "reject", "ban", "alarm", "allow"),
			Range:   rapid.SampledFrom([][]string{nil, {"any"}, {"203.0.113.0/24"}, {"country:DE"}, {"office.example.com"}}).Draw(t, "range"),
			Methods: rapid.SampledFrom([][]string{nil, {"INVITE"}, {"SUBSCRIBE", "other"}}).Draw(t, "methods"),
			Shadow:  rapid.IntRange(0, 4).Draw(t, "shadow") == 0}
		switch rapid.IntRange(0, 3).Draw(t, "condition") {
		case 0:
			e.UserAgent = []PatternConfig{{Match: word("evil", "fine"), Mode: word("prefix", "contains", "product")}}
		case 1:
			e.UserAgent = []PatternConfig{{Mode: "absent"}}
		case 2:
			e.From = []PatternConfig{{Match: word("bob", "\"bob\" <sip:204@.*", "alice"), Mode: word("contains", "regex")}}
		default:
			e.Transports = []string{word("udp", "tcp")}
		}
		c.MessageRules = append(c.MessageRules, e)
	}
}

func (w *twin) exemptions(m *twinMessage) (exempt map[string]bool, white bool) {
	exempt = map[string]bool{}
	for _, e := range w.c.WhiteList {
		if !twinRange(e.Range, m.source) || !slices.Contains(realmsOf(e.Realms), m.i.Realm) {
			continue
		}
		white = true
		for _, x := range exemptionNames {
			exempt[x] = exempt[x] || len(e.Exempt) == 0 || slices.Contains(e.Exempt, x)
		}
	}
	return exempt, white
}

func twinRange(texts []string, a netip.Addr) bool {
	r, _ := parseRanges(texts)
	return r.any || slices.ContainsFunc(r.spans, func(s span) bool { return s.contains(a) })
}

func (w *twin) blackListed(m *twinMessage) bool {
	return slices.ContainsFunc(w.c.BlackList, func(e BlackEntry) bool {
		return twinRange(e.Range, m.source) && slices.Contains(realmsOf(e.Realms), m.i.Realm) &&
			(e.Until.IsZero() || m.now.Before(e.Until))
	})
}

// fedTo reports whether a feed refuses a message.
func (w *twin) fedTo(m *twinMessage) bool {
	return w.kind(m) == Stranger && slices.ContainsFunc(w.c.Feeds, func(e FeedConfig) bool {
		entries := w.d.Feeds[e.Name]
		return !e.Shadow && entries != nil && entries.Contains(m.source) && slices.Contains(realmsOf(e.Realms), m.i.Realm)
	})
}

// isForeign is step 5.
func (w *twin) isForeign(m *twinMessage) bool {
	e := &w.c.Countries
	if len(e.List) == 0 || e.Shadow || m.i.Side != nat.Outside || w.kind(m) == Trunk || w.kind(m) == Node || private(m.source) ||
		!slices.Contains(realmsOf(e.Realms), m.i.Realm) {
		return false
	}
	code := w.d.Countries.Country(m.source).String()
	if code == "" {
		return e.Unknown == "deny"
	}
	return slices.Contains(e.List, code) == (e.Mode != "allow")
}

// message is what message rules see of a message.
func (w *twin) message(m *twinMessage) *Subject {
	s := &Subject{Request: m.method != "", Method: MethodOf([]byte(m.method)), Realm: m.i.Realm, Transport: m.i.Transport,
		Source: netip.AddrPortFrom(m.source, 5060), From: []byte("\"Bob\" <sip:204@example.com>;tag=far1"), To: []byte("<sip:100@example.com>"),
		URI: []byte("sip:100@example.com"), CallID: []byte("c1@far"), Peer: &Peer{Kind: w.kind(m)}}
	s.Agents[0] = []byte(m.agent)
	return s
}

// ruled is step 7: message rules, then user agents; "" lets the message go on.
func (w *twin) ruled(m *twinMessage, spared bool) string {
	s := w.message(m)
	resolved := *w.c
	resolved.MessageRules = slices.Clone(w.c.MessageRules)
	for i := range resolved.MessageRules {
		resolved.MessageRules[i].Range = slices.Clone(resolved.MessageRules[i].Range)
		for j, r := range resolved.MessageRules[i].Range {
			if r == "office.example.com" {
				resolved.MessageRules[i].Range[j] = "192.0.2.67, 203.0.113.20"
			}
		}
	}
	said, _, _ := strings.Cut(naiveRules(&resolved, w.d, s), "/")
	if action := strings.TrimRight(said, "0123456789"); action != "" && action != "allow" {
		return w.refusal(m, action, 403, "message-rule")
	} else if action == "allow" || spared || w.kind(m) == Trunk || w.kind(m) == Node {
		return ""
	}
	enforced := slices.DeleteFunc(slices.Clone(w.c.DenyUserAgents), func(e UserAgentConfig) bool { return e.Action == "alarm" })
	if i := naiveAgents(enforced, m.agent); i >= 0 {
		return w.refusal(m, enforced[i].Action, 403, "user-agent")
	}
	return ""
}

func (w *twin) answersChallenge(m *twinMessage) bool {
	key := SourceKey(m.source)
	open := w.credits[key]
	if at, passed := w.nonces[m.source]; !passed || m.now.Sub(at) >= 10*time.Minute {
		return false
	}
	if len(open) == 0 || m.now.Sub(open[len(open)-1]) >= 32*time.Second {
		return false // the youngest one keeps the others open
	}
	w.credits[key] = open[:len(open)-1]
	if len(open) > 1 {
		w.credits[key][len(open)-2] = open[len(open)-1]
	}
	return true
}

func (w *twin) challenged(now time.Time, a netip.Addr) {
	key := SourceKey(a)
	open := w.credits[key]
	if len(open) > 0 && now.Sub(open[len(open)-1]) >= 32*time.Second {
		open = nil
	}
	w.credits[key] = append(open, now)
}
