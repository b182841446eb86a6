package policy

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/gaissmai/bart"
	"golang.org/x/time/rate"

	"sallyport/nat"
)

// limitRow is what the rate limits say about the addresses of one prefix, worked out in advance: a packet costs one
// look-up of its source and one index by its method. The numbers are positions in Rules.limits; those that are
// enforced come first, those that only count (shadow) behind them.
type limitRow struct {
	anyone [methodCount][]int32 // strangers and phones
	named  [methodCount][]int32 // trunks and nodes: only rules whose range names them, not `any`
}

// limitRule is one rate_limits entry on its way into rows.
type limitRule struct {
	addresses addressRange
	stack     bool
	shadow    bool
	methods   map[Method]int32 // listed methods → limit
	star      int32            // limit of `*`, or -1
}

// limitMethod reads a key of a rule's limits. The star is MethodOther.
func limitMethod(name string) (Method, bool) {
	if name == "*" {
		return MethodOther, true
	}
	m := MethodOf([]byte(name))
	return m, m != MethodOther
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func (r *Rules) compileLimits(c *Config) {
	var rules []limitRule
	var realms [2][]int // realm → rules that hold in it
	for i := range c.RateLimits {
		e := &c.RateLimits[i]
		rules = append(rules, r.compileLimit(e, i))
		for _, realm := range realmsOf(e.Realms) {
			realms[realm] = append(realms[realm], i)
		}
	}
	for realm := range r.rows {
		r.rows[realm] = new(bart.Table[*limitRow])
		for _, i := range realms[realm] {
			for _, p := range rules[i].addresses.prefixes() {
				if _, there := r.rows[realm].Get(p); !there {
					r.rows[realm].Insert(p, r.row(rules, realms[realm], p))
				}
			}
		}
	}
}

// compileLimit numbers the limits of one entry.
func (r *Rules) compileLimit(e *RateLimitConfig, i int) limitRule {
	ranges := rangeOrAny(e.Range)
	addresses, _ := parseRanges(ranges)
	says := e.Name
	if says == "" {
		says = strings.Join(ranges, ",") + "\x00" + strings.Join(e.Realms, ",")
	}
	name := orDefault(e.Name, strings.Join(ranges, ", "))
	info := RuleInfo{Kind: "rate-limit", Path: fmt.Sprintf("policy.rate_limits[%d]", i), Name: name,
		Comment: e.Comment, Shadow: e.Shadow}
	rule := limitRule{addresses: addresses, stack: e.Stack, shadow: e.Shadow, methods: map[Method]int32{}, star: -1}
	number := r.addInfo(info, says)
	if !e.Stack && !addresses.single() {
		r.wide[number] = true
	}
	for _, method := range sortedKeys(e.Limits) {
		m, _ := limitMethod(method)
		text, _ := ParseRate(e.Limits[method])
		burst := text.DefaultBurst()
		if e.Burst != nil {
			burst = *e.Burst
		}
		r.limits = append(r.limits, limit{
			key: keyOf("rate-limit", says, method), rule: number, star: method == "*", method: m, text: text,
			rate: rate.Limit(text.PerSecond()), burst: burst, action: actionOf(e.Action), shadow: e.Shadow,
		})
		if method == "*" {
			rule.star = int32(len(r.limits) - 1)
		} else {
			rule.methods[m] = int32(len(r.limits) - 1)
		}
	}
	return rule
}

// find is the rule's limit for a method, or -1.
func (l *limitRule) find(m Method) int32 {
	if i, listed := l.methods[m]; listed {
		return i
	}
	return l.star
}

// candidate is a rule that covers a prefix and limits a method.
type candidate struct {
	limit         int32
	width         width
	stack, shadow bool
}

// row works out which limits hold for the addresses that this prefix is the longest match of.
func (r *Rules) row(rules []limitRule, realm []int, p netip.Prefix) *limitRow {
	row := &limitRow{}
	for m := range methodCount {
		var anyone, named []candidate
		for _, i := range realm {
			rule := &rules[i]
			w, explicit, ok := rule.addresses.covers(p)
			limit := rule.find(m)
			if !ok || limit < 0 {
				continue
			}
			c := candidate{limit, w, rule.stack, rule.shadow}
			anyone = append(anyone, c)
			if explicit {
				named = append(named, c)
			}
		}
		row.anyone[m], row.named[m] = choose(anyone), choose(named)
	}
	return row
}

// choose picks of the candidates, which stand in the order of the file: the narrowest enforced one, every stacking
// one, and behind them each shadow rule that would count if it were enforced.
func choose(all []candidate) []int32 {
	var chosen, shadows []int32
	var narrowest *candidate
	for i := range all {
		c := &all[i]
		switch {
		case c.shadow:
		case c.stack:
			chosen = append(chosen, c.limit)
		case narrowest == nil || c.width.less(narrowest.width):
			narrowest = c
		}
	}
	if narrowest != nil {
		chosen = append([]int32{narrowest.limit}, chosen...)
	}
	for _, c := range all {
		if c.shadow && (c.stack || narrowest == nil || c.width.less(narrowest.width) ||
			c.width == narrowest.width && c.limit < narrowest.limit) {
			shadows = append(shadows, c.limit)
		}
	}
	return append(chosen, shadows...)
}

// limitsFor lists the limits that a request meets, by position in r.limits.
func (r *Rules) limitsFor(realm nat.Realm, source netip.Addr, m Method, named bool) []int32 {
	row, ok := r.rows[realm].Lookup(source)
	switch {
	case !ok:
		return nil
	case named:
		return row.named[m]
	}
	return row.anyone[m]
}

// String is a limit as an administrator reads it: REGISTER 15/minute burst 4.
func (l *limit) String() string {
	method := l.method.String()
	if l.star {
		method = "*"
	}
	return fmt.Sprintf("%s %s burst %d", method, l.text, l.burst)
}
