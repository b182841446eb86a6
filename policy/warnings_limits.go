package policy

import (
	"fmt"
	"net/netip"
	"slices"

	"sallyport/nat"
)

// limitWarnings looks for rate limits that are legal and probably not meant.
func limitWarnings(c *Config) (warnings []string) {
	for i := range c.RateLimits {
		e := &c.RateLimits[i]
		ranges, _ := parseRanges(rangeOrAny(e.Range))
		if e.PerPhone && len(e.Realms) > 0 && !slices.Contains(e.Realms, "phones") {
			warnings = append(warnings, limitPath(c, i)+": per_phone multiplies nothing, because phones register at realm phones; "+
				"leave it out")
		}
		if e.Preset == "trunk" && len(ranges.spans) == 0 && len(ranges.names) == 0 {
			warnings = append(warnings, limitPath(c, i)+": preset trunk binds no trunk here, because only rules whose range names "+
				"a trunk's addresses do; write them into range")
		}
	}
	return append(warnings, shadowedLimits(c)...)
}

// claim is what a rate limit holds for, as far as others stand in its way or it in theirs.
type claim struct {
	decides  bool // not: what stacks and what raises alarms, which is asked besides, and rules on trial
	realms   []nat.Realm
	quotas   map[string]quota
	methods  []string // of quotas, sorted
	ranges   addressRange
	prefixes []netip.Prefix
}

func claimOf(e *RateLimitConfig) claim {
	c := claim{decides: !e.Stack && !e.Shadow && deedOf(e.Action) != deedAlarm, realms: realmsOf(e.Realms), quotas: e.quotas()}
	c.methods = sortedKeys(c.quotas)
	c.ranges, _ = parseRanges(rangeOrAny(e.Range))
	c.prefixes = c.ranges.prefixes()
	return c
}

// shadowedLimits looks for rate limits that never decide because others stand in their way at every address. Each rule is
// held against each other one, so all are read first.
func shadowedLimits(c *Config) (warnings []string) {
	claims := make([]claim, len(c.RateLimits))
	for i := range claims {
		claims[i] = claimOf(&c.RateLimits[i])
	}
	for i := range claims {
		rule := &claims[i]
		if !rule.decides {
			continue
		}
		by := shadowedBy(claims, i)
		for j := range claims {
			if len(by[j]) > 0 && len(by[j]) == len(rule.quotas) && len(rule.quotas) > 1 {
				warnings = append(warnings, fmt.Sprintf("%s never decides: %s covers its whole range and is %s",
					limitPath(c, i), limitPath(c, j), why(c, i, j)))
				continue
			}
			for _, method := range by[j] {
				warnings = append(warnings, fmt.Sprintf("%s: %s never decides: %s covers its whole range and is %s",
					limitPath(c, i), method, limitPath(c, j), why(c, i, j)))
			}
		}
	}
	return warnings
}

func limitPath(c *Config, i int) string {
	if name := c.RateLimits[i].Name; name != "" {
		return fmt.Sprintf("policy.rate_limits[%d] %q", i, name)
	}
	return fmt.Sprintf("policy.rate_limits[%d]", i)
}

// why says what makes rule j win over rule i.
func why(c *Config, i, j int) string {
	if slices.Equal(rangeOrAny(c.RateLimits[i].Range), rangeOrAny(c.RateLimits[j].Range)) {
		return "before it in the file"
	}
	return "narrower, or as narrow and before it"
}

// shadowedBy is the methods of a rule for which another one decides in its place wherever it holds, by the first such rule.
func shadowedBy(claims []claim, i int) map[int][]string {
	rule := &claims[i]
	by := map[int][]string{}
	left := rule.methods
	for j := range claims {
		other := &claims[j]
		if len(left) == 0 {
			break
		}
		if j == i || !other.decides || !containsAll(other.realms, rule.realms) || !other.wins(rule, j < i) {
			continue
		}
		var still []string
		for _, method := range left {
			if other.limits(method) {
				by[j] = append(by[j], method)
			} else {
				still = append(still, method)
			}
		}
		left = still
	}
	return by
}

// limits reports whether a rule has a limit for all that a key of another rule's limits is about.
func (c *claim) limits(method string) bool {
	_, lists := c.quotas[method]
	_, star := c.quotas["*"]
	return lists || star && method != "*" && method != "unparseable"
}

func coversRealms(outer, inner []string) bool { return containsAll(realmsOf(outer), realmsOf(inner)) }

func containsAll(outer, inner []nat.Realm) bool {
	return !slices.ContainsFunc(inner, func(r nat.Realm) bool { return !slices.Contains(outer, r) })
}

// wins reports whether a rule is at least as narrow as another one everywhere that that one holds; a tie goes to the first. DNS
// names change their addresses, so a rule that has any is never sure to be in the way, nor to have somebody in its own.
func (c *claim) wins(other *claim, first bool) bool {
	if len(other.ranges.names) > 0 {
		return false
	}
	for _, country := range other.ranges.countries {
		// Ranges of addresses win over a country where they hold, but none is known to hold all of one.
		if !c.ranges.holdsCountry(country) || !first {
			return false
		}
	}
	for _, p := range other.prefixes {
		if !winsAt(c.ranges, other.ranges, p, first) {
			return false
		}
	}
	return true
}

// winsAt looks at one prefix of b, and at its halves where only parts of it lie within a.
func winsAt(a, b addressRange, p netip.Prefix, first bool) bool {
	if wa, ok := a.narrowness(p); ok {
		wb, _ := b.narrowness(p)
		return wa.less(wb) || wa == wb && first
	}
	if p.IsSingleIP() || !a.meets(p) {
		return false
	}
	low := netip.PrefixFrom(p.Addr(), p.Bits()+1)
	high := netip.PrefixFrom(nat.LastOf(low).Next(), p.Bits()+1)
	return winsAt(a, b, low, first) && winsAt(a, b, high, first)
}

// narrowness is how narrowly a range holds a prefix by its addresses.
func (r addressRange) narrowness(p netip.Prefix) (narrowness, bool) {
	w, named, ok := r.covers(p)
	if named {
		return narrowness{classAddresses, w}, ok
	}
	return narrowness{classAny, w}, ok
}

func rangeOrAny(r []string) []string {
	if len(r) == 0 {
		return []string{"any"}
	}
	return r
}
