package policy

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"sallyport/policy/geo"
)

// rangesGuard has a rule for everybody, one for a country, one for a network, one for a name, and one that stacks for both a
// country and a network in it. Each lets a number of its own pass.
func rangesGuard(t testing.TB) *Guard {
	t.Helper()
	countries, err := geo.Read(strings.NewReader("198.51.100.0,198.51.100.255,DE\n192.0.2.0,192.0.2.255,FR\n2001:db8:7::,2001:db8:7:ffff:ffff:ffff:ffff:ffff,DE\n"), "test")
	must(t, err)
	rule := func(name string, burst int, stack bool, ranges ...string) RateLimitConfig {
		return RateLimitConfig{Name: name, Range: ranges, Limits: map[string]string{"INVITE": "1/day"}, Burst: &burst, Stack: stack}
	}
	rules, err := Compile(&Config{RateLimits: []RateLimitConfig{
		rule("everybody", 2, false, "any"), rule("germany", 4, false, "country:DE"), rule("net", 6, false, "198.51.100.128/25"),
		rule("name", 8, false, "office.example.com"), rule("both", 5, true, "country:DE", "198.51.100.192/26"),
	}}, Data{Countries: countries, Names: map[string][]netip.Addr{"office.example.com": {netip.MustParseAddr("198.51.100.200"), netip.MustParseAddr("8.8.8.8")}}})
	must(t, err)
	g := newGuard(t, &Config{})
	g.SetRules(noon, rules)
	g.SetPeers(nil)
	return g
}

// TestNarrowerRangesDecide: addresses before names of countries before everybody, and what stacks is charged once.
func TestNarrowerRangesDecide(t *testing.T) {
	for source, want := range map[string]int{
		"9.9.9.9": 2, "192.0.2.7": 2, "198.51.100.7": 4, "2001:db8:7::7": 4, "198.51.100.130": 5, "198.51.100.200": 5, "8.8.8.8": 8,
		"10.1.1.1": 2,
	} {
		g := rangesGuard(t)
		a := netip.MustParseAddr(source)
		g.AddPhone(a)
		if n := passing(g, noon, outsidePhones, netip.AddrPortFrom(a, 5060).String(), "INVITE", 20); n != want {
			t.Errorf("%d of 20 from %s pass, want %d", n, source, want)
		}
	}
}

// TestACountryNamesNoTrunk: a provider is bound by rules that name its addresses, wherever it is.
func TestACountryNamesNoTrunk(t *testing.T) {
	g := rangesGuard(t)
	g.SetPeers([]Peer{{netip.MustParsePrefix("198.51.100.7/32"), Trunk, outsideTrunks.Side, outsideTrunks.Realm, "itsp"}})
	if n := passing(g, noon, outsideTrunks, "198.51.100.7", "INVITE", 20); n != 20 {
		t.Errorf("%d of 20 pass", n)
	}
}

func TestCountriesInLimitsAllocateNothing(t *testing.T) {
	g := rangesGuard(t)
	for _, source := range []string{"9.9.9.9", "198.51.100.7", "198.51.100.200", "2001:db8:7::7"} {
		g.AddPhone(netip.MustParseAddr(source))
		p := packetOf(noon, outsidePhones, netip.AddrPortFrom(netip.MustParseAddr(source), 5060).String(), msg{}.bytes())
		if n := testing.AllocsPerRun(100, func() { g.Check(p) }); n != 0 {
			t.Errorf("%s: %v allocations", source, n)
		}
	}
}

// TestManyRangesAndCountriesCompile: the rows of countries stand beside those of prefixes, so that they add up and do not
// multiply.
func TestManyRangesAndCountriesCompile(t *testing.T) {
	alone(t)
	c := &Config{}
	for n := range maxLimitRules {
		e := RateLimitConfig{Name: fmt.Sprint(n), Preset: "home", Range: []string{fmt.Sprintf("10.%d.%d.0/24", n/250, n%250)}}
		if n%4 == 0 {
			e.Range = []string{"country:" + []string{"DE", "FR", "US", "CN", "BR", "IN", "GB", "JP"}[n/4%8]}
		}
		c.RateLimits = append(c.RateLimits, e)
	}
	r := compile(t, c)
	if n := len(r.rowsByCountry[0]); n != 8 || r.rows[0].Size() != 750 {
		t.Errorf("%d countries, %d prefixes", n, r.rows[0].Size())
	}
}
