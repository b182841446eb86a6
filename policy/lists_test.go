package policy

import (
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gaissmai/bart"
	"pgregory.net/rapid"

	"sallyport/nat"
	"sallyport/policy/geo"
)

// world is a country database for tests: Germany, France, and what lies between them.
func world(t testing.TB) *geo.Database {
	t.Helper()
	d, err := geo.Read(strings.NewReader("192.0.2.0/25,DE\n192.0.2.128/26,FR\n198.51.100.0/24,DE\n203.0.113.0/24,FR\n10.0.0.0/8,FR\n2001:db8::/64,DE\n"), "test")
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func compileWith(t testing.TB, c *Config, d Data) *Rules {
	t.Helper()
	r, err := Compile(c, d)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// naiveList says which rules of both lists hold for a source, narrowest class first: addresses, country, everybody.
func naiveList(c *Config, d Data, realm nat.Realm, a netip.Addr, now time.Time, system bool) (spared exempt, black bool) {
	country := d.Countries.Country(a)
	holds := func(texts, realms []string, byCountry bool) bool {
		r, _ := parseRanges(texts)
		r = r.resolve(d)
		return slices.Contains(realmsOf(realms), realm) && (r.any || byCountry && r.holdsCountry(country) && !private(a) ||
			slices.ContainsFunc(r.spans, func(s span) bool { return s.contains(a) }))
	}
	for _, e := range c.WhiteList {
		if holds(e.Range, e.Realms, true) {
			spared |= exemptionsOf(e.Exempt)
		}
	}
	for _, e := range c.BlackList {
		if holds(e.Range, e.Realms, !system) && (e.Until.IsZero() || now.Before(e.Until)) {
			black = true
		}
	}
	return spared, black
}

func TestCompiledListsEqualNaiveOnes(t *testing.T) {
	d := Data{Countries: world(t), Names: map[string][]netip.Addr{"x.example.com": {netip.MustParseAddr("192.0.2.7")}}}
	ranges := rapid.SliceOfN(rapid.SampledFrom([]string{"any", "192.0.2.0/24", "192.0.2.0/25", "192.0.2.7", "192.0.2.3-192.0.2.130", "country:DE", "country:FR",
		"x.example.com", "y.example.com", "2001:db8::/32", "2001:db8::1", "0.0.0.0/0", "10.0.0.0/8", "198.51.100.0/30"}), 1, 3)
	realms := rapid.SampledFrom([][]string{nil, {"phones"}, {"trunks"}, {"trunks", "phones"}})
	untils := rapid.SampledFrom([]time.Time{{}, noon, noon.Add(time.Minute)})
	sources := []string{"192.0.2.7", "192.0.2.3", "192.0.2.129", "192.0.2.200", "198.51.100.1", "203.0.113.20", "10.0.0.10", "2001:db8::1", "2001:db8:1::1", "1.1.1.1"}
	rapid.Check(t, func(t *rapid.T) {
		c := &Config{RateLimits: []RateLimitConfig{}}
		for range rapid.IntRange(0, 5).Draw(t, "white") {
			c.WhiteList = append(c.WhiteList, WhiteEntry{Range: ranges.Draw(t, "range"), Realms: realms.Draw(t, "realms"),
				Exempt: rapid.SliceOfNDistinct(rapid.SampledFrom(exemptionNames[:]), 0, 3, rapid.ID[string]).Draw(t, "exempt")})
		}
		for range rapid.IntRange(0, 5).Draw(t, "black") {
			c.BlackList = append(c.BlackList, BlackEntry{Range: ranges.Draw(t, "range"), Realms: realms.Draw(t, "realms"), Until: untils.Draw(t, "until")})
		}
		r, err := Compile(c, d)
		if err != nil {
			t.Fatal(err)
		}
		for _, source := range sources {
			for realm := nat.Phones; realm <= nat.Trunks; realm++ {
				for _, peer := range []*Peer{nil, {Kind: Trunk}} {
					for _, now := range []time.Time{noon.Add(-time.Second), noon, noon.Add(time.Minute)} {
						s := Subject{Realm: realm, Source: addrPort(source), Peer: peer, Trial: true}
						v := fresh()
						spared := r.whiteList(&s, &v)
						black := r.blackList(now, &s, &v)
						wantSpared, wantBlack := naiveList(c, d, realm, s.Source.Addr(), now, peer != nil)
						if spared != wantSpared || black != wantBlack || r.exemptions(realm, s.Source.Addr()) != wantSpared {
							t.Fatalf("%s at %s, %v, after %v: %b %v, want %b %v of %+v", source, realm, peer, now.Sub(noon), spared, black, wantSpared, wantBlack, c)
						}
					}
				}
			}
		}
	})
}

func TestTheNarrowestEntryIsNamed(t *testing.T) {
	c := &Config{
		WhiteList: []WhiteEntry{{Range: []string{"any"}, Exempt: []string{"limits"}}, {Range: []string{"country:DE"}, Exempt: []string{"limits"}},
			{Range: []string{"192.0.2.0/24"}, Exempt: []string{"limits"}, Comment: "the office"}, {Range: []string{"192.0.2.0/24"}, Exempt: []string{"limits"}}},
		BlackList: []BlackEntry{{Range: []string{"any"}, Until: noon.Add(time.Hour)}, {Range: []string{"country:DE"}, Until: noon.Add(time.Minute)},
			{Range: []string{"192.0.2.0/24"}, Until: noon.Add(2 * time.Second)}, {Range: []string{"192.0.2.0/24"}, Until: noon.Add(time.Second)},
			{Range: []string{"192.0.2.0/28"}, Until: noon.Add(time.Second), Comment: "for a second"}},
	}
	r := compileWith(t, c, Data{Countries: world(t)})
	for _, step := range []struct {
		source       string
		after        time.Duration
		white, black string
	}{
		{"192.0.2.1", 0, "policy.white_list[2]", "policy.black_list[4]"},
		{"192.0.2.1", time.Second, "policy.white_list[2]", "policy.black_list[2]"},
		{"192.0.2.1", 2 * time.Second, "policy.white_list[2]", "policy.black_list[1]"},
		{"192.0.2.1", time.Minute, "policy.white_list[2]", "policy.black_list[0]"},
		{"192.0.2.1", time.Hour, "policy.white_list[2]", ""},
		{"192.0.2.250", time.Second, "policy.white_list[2]", "policy.black_list[2]"},
		{"198.51.100.1", 0, "policy.white_list[1]", "policy.black_list[1]"},
		{"1.1.1.1", 0, "policy.white_list[0]", "policy.black_list[0]"},
		{"1.1.1.1", time.Hour, "policy.white_list[0]", ""},
	} {
		s, v := Subject{Source: addrPort(step.source)}, fresh()
		r.whiteList(&s, &v)
		white, _ := r.Rule(v.Rule)
		v = fresh()
		r.blackList(noon.Add(step.after), &s, &v)
		black, _ := r.Rule(v.Rule)
		if white.Path != step.white || black.Path != step.black {
			t.Errorf("%s after %v: %q %q, want %q %q", step.source, step.after, white.Path, black.Path, step.white, step.black)
		}
	}
}

func TestWhiteListExemptionsAreApart(t *testing.T) {
	d := Data{Countries: world(t), Feeds: map[string]*bart.Lite{"bad": new(bart.Lite)}}
	d.Feeds["bad"].Insert(netip.MustParsePrefix("192.0.2.66/32"))
	for exempt, want := range map[string]string{ // limits, bans (black list), feed, country, user agent
		"limits": "allow drop drop drop drop", "bans": "drop allow allow drop drop", "countries": "drop drop drop allow drop",
		"user_agents": "drop drop drop drop allow", "": "allow allow allow allow allow",
	} {
		var white []string
		if exempt != "" {
			white = []string{exempt}
		}
		var got []string
		for _, c := range []Config{
			{RateLimits: []RateLimitConfig{{Name: "none", Limits: map[string]string{"INVITE": "1/day"}, Burst: ptr(1)}}},
			{BlackList: []BlackEntry{{Range: []string{"192.0.2.66"}}}},
			{Feeds: []FeedConfig{{Name: "bad"}}},
			{Countries: CountriesConfig{List: []string{"DE"}}},
			{DenyUserAgents: []UserAgentConfig{{Match: "odd"}}},
		} {
			c.WhiteList = []WhiteEntry{{Range: []string{"192.0.2.66"}, Exempt: white}}
			c.Phones.Unregistered = "forward"
			g := newGuard(t, &c)
			g.SetRules(noon, compileWith(t, &c, d))
			send(g, noon, outsidePhones, "192.0.2.66", msg{branch: "z9hG4bKfirst"}.bytes())
			v := send(g, noon, outsidePhones, "192.0.2.66", msg{agent: "odd"}.bytes())
			got = append(got, v.Action.String())
		}
		if strings.Join(got, " ") != want {
			t.Errorf("exempt %q: %v, want %s", exempt, got, want)
		}
	}
}

func TestUnbannedPrefixes(t *testing.T) {
	r := compileWith(t, &Config{WhiteList: []WhiteEntry{{Range: []string{"192.0.2.0/24"}}, {Range: []string{"198.51.100.0/24"}, Exempt: []string{"limits"}},
		{Range: []string{"any"}, Exempt: []string{"limits"}}}}, Data{})
	if got := r.Unbanned(); len(got) != 1 || got[0].String() != "192.0.2.0/24" {
		t.Error(got)
	}
	r = compileWith(t, &Config{WhiteList: []WhiteEntry{{Range: []string{"any"}}}}, Data{})
	if got := r.Unbanned(); len(got) != 2 {
		t.Error(got)
	}
}

func TestALongRangeIsNamedInShort(t *testing.T) {
	var ranges []string
	for i := range 300 {
		ranges = append(ranges, fmt.Sprintf("192.0.%d.1", i%200+1))
	}
	r := compileWith(t, &Config{BlackList: []BlackEntry{{Range: ranges}}}, Data{})
	if name := r.Rules()[0].Name; !strings.HasSuffix(name, "192.0.8.1, … (300 in all)") || len(name) > 200 {
		t.Error(name)
	}
}

// halfAMillion is a black list of 500,000 entries, each with a comment, in 500 prefixes of lengths from 16 to 32.
func halfAMillion() *Config {
	c := &Config{}
	for i := range maxRules {
		a := netip.AddrFrom4([4]byte{byte(11 + i%100), byte(i / 100), byte(i / 25_600), byte(i % 251)})
		p, _ := a.Prefix(32 - i%17)
		c.BlackList = append(c.BlackList, BlackEntry{Range: []string{p.String()}, Comment: "seen in May"})
	}
	return c
}

// BenchmarkLists measures what a list of 500,000 entries costs: to compile, in memory, and a message.
func BenchmarkLists(b *testing.B) {
	c := halfAMillion()
	b.Run("compile", func(b *testing.B) {
		b.ReportAllocs()
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		var r *Rules
		for b.Loop() {
			r = compile(b, c)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "MiB")
		runtime.KeepAlive(r)
	})
	r := compile(b, c)
	one := new(bart.Lite)
	for i := range 200_000 {
		one.Insert(netip.PrefixFrom(addr4(uint32(i)*20_011), 32))
	}
	fed := compileWith(b, &Config{Feeds: []FeedConfig{{Name: "a"}}}, Data{Feeds: map[string]*bart.Lite{"a": one}})
	look := func(name string, r *Rules) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			n, s := uint32(1), Subject{}
			for b.Loop() {
				n = n*1664525 + 1013904223
				v := Verdict{Shadow: -1}
				s.Source, s.hasCountry = netip.AddrPortFrom(addr4(n), 5060), false
				_ = r.whiteList(&s, &v) != 0 || r.blackList(noon, &s, &v) || r.fed(&s, &v)
			}
		})
	}
	look("look up nothing", compile(b, &Config{}))
	look("look up lists", r)
	look("look up a feed", fed)
}

// TestHalfAMillionEntries is the promise of the manual: so many are compiled, each is found, and one more is refused.
func TestHalfAMillionEntries(t *testing.T) {
	if testing.Short() {
		t.Skip("needs some hundred MiB")
	}
	c := halfAMillion()
	r := compile(t, c)
	for i := 0; i < maxRules; i += 4_999 {
		p := netip.MustParsePrefix(c.BlackList[i].Range[0])
		s, v := Subject{Source: netip.AddrPortFrom(p.Addr(), 5060)}, fresh()
		if r.whiteList(&s, &v); !r.blackList(noon, &s, &v) {
			t.Fatalf("%s is not found", p)
		}
	}
	c.BlackList = append(c.BlackList, BlackEntry{Range: []string{"192.0.2.1"}})
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "policy.black_list: has 500001 entries; at most 500000") {
		t.Error(err)
	}
}
