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

// shadowedLimits looks for rate limits that never decide because others stand in their way at every address. What stacks
// and what raises alarms is asked besides, so it is in nobody's way and nobody in its; rules on trial are in nobody's way.
func shadowedLimits(c *Config) (warnings []string) {
	for i := range c.RateLimits {
		e := &c.RateLimits[i]
		if e.Stack || e.Shadow || deedOf(e.Action) == deedAlarm {
			continue
		}
		by := map[int][]string{}
		quotas := e.quotas()
		for _, method := range sortedKeys(quotas) {
			if j := shadowedBy(c, i, method); j >= 0 {
				by[j] = append(by[j], method)
			}
		}
		for j := range c.RateLimits {
			if len(by[j]) > 0 && len(by[j]) == len(quotas) && len(quotas) > 1 {
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

// shadowedBy finds a rule that decides for a method in place of rule i wherever rule i holds, or -1.
func shadowedBy(c *Config, i int, method string) int {
	rule := &c.RateLimits[i]
	for j := range c.RateLimits {
		other := &c.RateLimits[j]
		if j == i || other.Stack || other.Shadow || deedOf(other.Action) == deedAlarm || !other.limits(method) {
			continue
		}
		if coversRealms(other.Realms, rule.Realms) && wins(other, rule, j < i) {
			return j
		}
	}
	return -1
}

// limits reports whether a rule has a limit for all that a key of another rule's limits is about.
func (e *RateLimitConfig) limits(method string) bool {
	quotas := e.quotas()
	_, lists := quotas[method]
	_, star := quotas["*"]
	return lists || star && method != "*" && method != "unparseable"
}

func coversRealms(outer, inner []string) bool {
	for _, r := range realmsOf(inner) {
		if !slices.Contains(realmsOf(outer), r) {
			return false
		}
	}
	return true
}

// wins reports whether rule a is at least as narrow as rule b everywhere that b holds; a tie goes to the first. DNS names
// change their addresses, so a rule that has any is never sure to be in the way, nor to have somebody in its own.
func wins(a, b *RateLimitConfig, first bool) bool {
	ra, _ := parseRanges(rangeOrAny(a.Range))
	rb, _ := parseRanges(rangeOrAny(b.Range))
	if len(rb.names) > 0 {
		return false
	}
	for _, country := range rb.countries {
		// Ranges of addresses win over a country where they hold, but none is known to hold all of one.
		if !ra.holdsCountry(country) || !first {
			return false
		}
	}
	for _, p := range rb.prefixes() {
		if !winsAt(ra, rb, p, first) {
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
