package policy

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"sallyport/nat"
	"sallyport/policy/geo"
)

// naiveLimits says what the documentation says: of the rules that match, the narrowest (equal: first in the file) and
// every one that stacks; behind them the shadow rules that would be among these if they were enforced.
func naiveLimits(c *Config, realm nat.Realm, a netip.Addr, method string, named bool) (rules []int, shadows []int) {
	type match struct {
		i int
		w narrowness
	}
	var plain []match
	at := netip.PrefixFrom(a, a.BitLen())
	find := func(e *RateLimitConfig) (n narrowness, ok bool) {
		r, _ := parseRanges(rangeOrAny(e.Range))
		w, explicit, ok := r.covers(at)
		n = narrowness{classAny, w}
		switch {
		case explicit:
			n.class = classAddresses
		case named:
			return n, false
		case r.holdsCountry(testCountry(a)):
			n, ok = narrowness{class: classCountry}, true
		}
		_, listed := e.Limits[method]
		_, star := e.Limits["*"]
		return n, ok && (listed || star && method != "unparseable") && slices.Contains(realmsOf(e.Realms), realm)
	}
	for i := range c.RateLimits {
		e := &c.RateLimits[i]
		if w, ok := find(e); ok && !e.Stack && !e.Shadow && e.Action != "alarm" {
			plain = append(plain, match{i, w})
		}
	}
	best := -1
	for n, m := range plain {
		if best < 0 || m.w.less(plain[best].w) {
			best = n
		}
	}
	if best >= 0 {
		rules = append(rules, plain[best].i)
	}
	for i := range c.RateLimits {
		e := &c.RateLimits[i]
		w, ok := find(e)
		switch {
		case !ok:
		case e.Shadow:
			if e.Stack || e.Action == "alarm" || best < 0 || w.less(plain[best].w) || w == plain[best].w && i < plain[best].i {
				shadows = append(shadows, i)
			}
		case e.Stack || e.Action == "alarm":
			rules = append(rules, i)
		}
	}
	return rules, shadows
}

// testCountry is where the addresses of these tests are.
func testCountry(a netip.Addr) geo.Code {
	switch a.As16()[15] & 3 {
	case 1:
		return geo.Code{'D', 'E'}
	case 2:
		return geo.Code{'F', 'R'}
	}
	return geo.Code{}
}

func TestCompiledLimitsEqualNaiveOnes(t *testing.T) {
	ranges := []string{"any", "10.0.0.0/8", "10.0.0.0/24", "10.0.0.0/25", "10.0.0.5", "10.0.0.3-10.0.0.200", "10.0.0.0-10.0.1.255",
		"2001:db8::/32", "2001:db8::/64", "192.0.2.0/24",
		"country:DE", "country:FR"}
	addresses := []string{"10.0.0.5", "10.0.0.1", "10.0.0.130", "10.0.1.7", "10.9.9.9", "192.0.2.7", "8.8.8.8", "2001:db8::5", "2001:db8:1::5", "2a00::1"}
	methods := []string{"INVITE", "REGISTER", "OPTIONS", "*", "unparseable"}
	rapid.Check(t, func(t *rapid.T) {
		entry := rapid.Custom(func(t *rapid.T) RateLimitConfig {
			e := RateLimitConfig{
				Range:  rapid.SliceOfNDistinct(rapid.SampledFrom(ranges), 1, 3, rapid.ID[string]).Draw(t, "range"),
				Realms: rapid.SampledFrom([][]string{nil, {"phones"}, {"trunks"}}).Draw(t, "realms"),
				Stack:  rapid.Bool().Draw(t, "stack"), Shadow: rapid.Bool().Draw(t, "shadow"), Limits: map[string]string{},
				Action: rapid.SampledFrom([]string{"drop", "alarm"}).Draw(t, "action"),
			}
			for _, m := range rapid.SliceOfNDistinct(rapid.SampledFrom(methods), 1, 3, rapid.ID[string]).Draw(t, "methods") {
				e.Limits[m] = "1/second"
			}
			return e
		})
		c := &Config{RateLimits: rapid.SliceOfN(entry, 0, 7).Draw(t, "rules"), DenyUserAgents: []UserAgentConfig{}}
		for i := range c.RateLimits {
			c.RateLimits[i].Name = fmt.Sprint("rule ", i)
		}
		r, err := Compile(c, Data{})
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range addresses {
			a := netip.MustParseAddr(text)
			for _, m := range []Method{MethodInvite, MethodRegister, MethodOptions, MethodBye, MethodOther, unparseable} {
				for _, realm := range []nat.Realm{nat.Phones, nat.Trunks} {
					for _, named := range []bool{false, true} {
						compareLimits(t, c, r, realm, a, m, named)
					}
				}
			}
		}
	})
}

// setFor lists the limits that an address meets, as a peer that only rules that name it bind, or as anybody.
func setFor(r *Rules, realm nat.Realm, a netip.Addr, m Method, named bool) []int32 {
	s := Subject{Realm: realm, Source: netip.AddrPortFrom(a, 5060), country: testCountry(a), hasCountry: true}
	if named {
		s.Peer = &Peer{Kind: Trunk}
	}
	set := r.limitsFor(&s, m)
	return slices.Collect(set.all)
}

func compareLimits(t *rapid.T, c *Config, r *Rules, realm nat.Realm, a netip.Addr, m Method, named bool) {
	name := "unparseable"
	if m != unparseable {
		name = m.String()
	}
	want, wantShadows := naiveLimits(c, realm, a, name, named)
	var got, gotShadows []int
	for _, i := range setFor(r, realm, a, m, named) {
		l := &r.limits[i]
		if l.shadow {
			gotShadows = append(gotShadows, int(l.rule))
		} else {
			got = append(got, int(l.rule))
		}
		_, listed := c.RateLimits[l.rule].Limits[name]
		if l.star == listed {
			t.Fatalf("%s of rule %d: star %v", m, l.rule, l.star)
		}
	}
	for _, list := range [][]int{got, want, gotShadows, wantShadows} {
		slices.Sort(list) // the order decides nothing
	}
	if !slices.Equal(got, want) || !slices.Equal(gotShadows, wantShadows) {
		t.Fatalf("%s at %s from %s named %v: %v and shadows %v, want %v and %v", name, realm, a, named, got, gotShadows, want, wantShadows)
	}
}

func TestStarIsOneBucketForEveryMethodNotListed(t *testing.T) {
	g := newGuard(t, &Config{RateLimits: []RateLimitConfig{
		{Limits: map[string]string{"*": "1/day", "INVITE": "1/day"}, Burst: ptr(3)},
	}})
	allowed := map[string]int{}
	for n, method := range []string{"OPTIONS", "INFO", "WEIRD", "NOTIFY", "ODD", "INVITE", "INVITE", "INVITE", "INVITE"} {
		if v := send(g, noon, outsidePhones, "198.51.100.7", msg{method: method, branch: fmt.Sprint("z9hG4bK", n)}.bytes()); v.Action == Allow {
			allowed[method]++
		}
	}
	if want := map[string]int{"OPTIONS": 1, "INFO": 1, "WEIRD": 1, "INVITE": 3}; !maps.Equal(allowed, want) {
		t.Errorf("%v, want %v", allowed, want)
	}
}

func TestStackTakesFromAllOrNone(t *testing.T) {
	g := newGuard(t, &Config{RateLimits: []RateLimitConfig{
		{Name: "wide", Limits: map[string]string{"INVITE": "10/minute"}, Burst: ptr(5)},
		{Name: "tight", Limits: map[string]string{"INVITE": "1/minute"}, Burst: ptr(2), Stack: true, Action: "reject"},
	}})
	for n := range 20 {
		v := send(g, noon, outsidePhones, "198.51.100.7", msg{branch: fmt.Sprint("z9hG4bK", n)}.bytes())
		want := "allow allow"
		if n >= 2 {
			want = "reject 503 limit-exceeded"
		}
		wantSays(t, v, want)
	}
	r := g.Rules()
	for i := range r.limits {
		left, _ := g.state.limits.level(0, r.limits[i].key, r.limits[i].size(1), netip.MustParseAddr("198.51.100.7"), true)
		if want := map[string]float64{"wide": 3, "tight": 0}[r.infos[r.limits[i].rule].Name]; left != want {
			t.Errorf("%s has %v left, want %v: refused requests must not be charged to other limits", &r.limits[i], left, want)
		}
	}
}
