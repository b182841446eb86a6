package policy

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/gaissmai/bart"

	"sallyport/policy/geo"
)

// unparseable stands among the methods for what the scan refuses, whatever method it claims to have. `*` is not about it.
const unparseable = methodCount

// slots are the methods and unparseable.
const slots = int(methodCount) + 1

// limitRow is what the rate limits say about the addresses of one prefix, worked out in advance: a packet costs one
// look-up of its source and one index by its method.
type limitRow struct {
	anyone [slots]limitList // strangers and phones
	named  [slots][]int32   // trunks and nodes: only rules whose range names them, not `any` and not a country
}

// limitList is what holds for a method. The numbers are positions in Rules.limits; those that are enforced come first,
// those that only count or warn behind them.
type limitList struct {
	plain   []int32 // where no rule for the source's country decides
	beside  []int32 // what is left of it where one does
	decided bool    // a range of addresses decides: it is narrower than any country
}

// countryRow is what rules say about the sources of one country.
type countryRow [slots]struct {
	decides []int32 // where no range of addresses decides
	adds    []int32 // where one does: only what stacks
	plain   bool    // one of the first decides in place of `any`
}

// limitSet is the limits that one message meets: those of its source's address, and those of its country.
type limitSet [2][]int32

func (l *limitSet) len() int { return len(l[0]) + len(l[1]) }

// at is the nth limit of the set, or -1 where one stands there again: a stacking rule may name a source by its address and
// by its country.
func (l *limitSet) at(n int) int32 {
	if n < len(l[0]) {
		return l[0][n]
	}
	i := l[1][n-len(l[0])]
	if slices.Contains(l[0], i) {
		return -1
	}
	return i
}

// all yields each limit once. It is for people: called through it, a packet's Subject would escape to the heap.
func (l *limitSet) all(yield func(int32) bool) {
	for n := range l.len() {
		if i := l.at(n); i >= 0 && !yield(i) {
			return
		}
	}
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
	switch name {
	case "*":
		return MethodOther, true
	case "unparseable":
		return unparseable, true
	}
	m := MethodOf([]byte(name))
	return m, m != MethodOther
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func (r *Rules) compileLimits(c *Config) {
	list, shipped := c.rateLimits()
	var rules []limitRule
	var realms [2][]int // realm → rules that hold in it
	for i := range list {
		e := &list[i]
		rules = append(rules, r.compileLimit(e, i, shipped))
		for _, realm := range realmsOf(e.Realms) {
			realms[realm] = append(realms[realm], i)
		}
	}
	for realm := range r.rows {
		r.rows[realm] = new(bart.Table[*limitRow])
		r.rowsByCountry[realm] = map[geo.Code]*countryRow{}
		for _, i := range realms[realm] {
			for _, code := range rules[i].addresses.countries {
				if r.rowsByCountry[realm][code] == nil {
					r.rowsByCountry[realm][code] = rowOfCountry(rules, realms[realm], code)
				}
			}
			for _, p := range rules[i].addresses.prefixes() {
				if _, there := r.rows[realm].Get(p); !there {
					r.rows[realm].Insert(p, rowOfPrefix(rules, realms[realm], p))
				}
			}
		}
	}
}

// compileLimit numbers the limits of one entry.
func (r *Rules) compileLimit(e *RateLimitConfig, i int, shipped bool) limitRule {
	ranges := rangeOrAny(e.Range)
	addresses, _ := parseRanges(ranges)
	addresses = addresses.resolve(r.data)
	says := e.Name
	if says == "" {
		says = strings.Join(ranges, ",") + "\x00" + strings.Join(e.Realms, ",")
	}
	info := RuleInfo{Kind: "rate-limit", Path: fmt.Sprintf("policy.rate_limits[%d]", i), Name: orDefault(e.Name, strings.Join(ranges, ", ")),
		Comment: e.Comment, Shadow: e.Shadow}
	if shipped {
		info.Path = "the shipped rate_limits"
	}
	does := deedOf(e.Action)
	rule := limitRule{addresses: addresses, stack: e.Stack || does == deedAlarm, shadow: e.Shadow, methods: map[Method]int32{}, star: -1}
	number := r.addInfo(info, says)
	if !rule.stack && !addresses.single() {
		r.wide[number] = true
	}
	quotas := e.quotas()
	for _, method := range sortedKeys(quotas) {
		m, _ := limitMethod(method)
		text, burst := quotas[method].read()
		r.limits = append(r.limits, limit{
			key: keyOf("rate-limit", says, method), rule: number, star: method == "*", method: m, text: text,
			rate: text.PerSecond(), burst: burst, perPhone: e.PerPhone, deed: does, shadow: e.Shadow,
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
	if m == unparseable {
		return -1
	}
	return l.star
}

// narrowness orders ranges: of addresses by how many they hold, then countries, then `any` and whole families.
type narrowness struct {
	class uint8
	width width
}

const (
	classAddresses uint8 = iota
	classCountry
	classAny
)

func (n narrowness) less(o narrowness) bool {
	return n.class < o.class || n.class == o.class && n.width.less(o.width)
}

// candidate is a rule that covers a prefix or a country and limits a method; limit -1: any rule for a country.
type candidate struct {
	limit         int32
	narrow        narrowness
	stack, shadow bool
}

// candidateAt is a rule's limit for a method at a prefix.
func (l *limitRule) candidateAt(m Method, p netip.Prefix) (c candidate, ok bool) {
	narrow, covers := l.addresses.narrowness(p)
	limit := l.find(m)
	return candidate{limit, narrow, l.stack, l.shadow}, covers && limit >= 0
}

// rowOfPrefix works out which limits hold for the addresses that this prefix is the longest match of.
func rowOfPrefix(rules []limitRule, realm []int, p netip.Prefix) *limitRow {
	row := &limitRow{}
	for m := range Method(slots) {
		var anyone, named []candidate
		decided := false
		for _, i := range realm {
			c, ok := rules[i].candidateAt(m, p)
			if !ok {
				continue
			}
			anyone = append(anyone, c)
			if c.narrow.class == classAddresses {
				named = append(named, c)
				decided = decided || !c.stack && !c.shadow
			}
		}
		country := candidate{limit: -1, narrow: narrowness{class: classCountry}}
		beside := slices.DeleteFunc(choose(append(slices.Clone(anyone), country)), func(i int32) bool { return i < 0 })
		row.anyone[m] = limitList{plain: choose(anyone), beside: beside, decided: decided}
		row.named[m] = choose(named)
	}
	return row
}

// rowOfCountry works out what the rules that name a country say about its sources.
func rowOfCountry(rules []limitRule, realm []int, code geo.Code) *countryRow {
	row := &countryRow{}
	for m := range Method(slots) {
		var all, stacks []candidate
		for _, i := range realm {
			rule := &rules[i]
			limit := rule.find(m)
			if limit < 0 || !rule.addresses.holdsCountry(code) {
				continue
			}
			c := candidate{limit, narrowness{class: classCountry}, rule.stack, rule.shadow}
			all = append(all, c)
			if rule.stack {
				stacks = append(stacks, c)
			}
			row[m].plain = row[m].plain || !rule.stack && !rule.shadow
		}
		row[m].decides, row[m].adds = choose(all), choose(stacks)
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
		case narrowest == nil || c.narrow.less(narrowest.narrow):
			narrowest = c
		}
	}
	if narrowest != nil {
		chosen = append([]int32{narrowest.limit}, chosen...)
	}
	for _, c := range all {
		if c.shadow && (c.stack || narrowest == nil || c.narrow.less(narrowest.narrow) ||
			c.narrow == narrowest.narrow && c.limit < narrowest.limit) {
			shadows = append(shadows, c.limit)
		}
	}
	return append(chosen, shadows...)
}

// noRow stands for a source that no range of addresses holds.
var noRow limitRow

// limitsFor lists the limits that a message of a method meets. The country of its source is looked up only where a rule
// of the realm names one.
func (r *Rules) limitsFor(s *Subject, m Method) limitSet {
	row, ok := r.rows[s.Realm].Lookup(s.Source.Addr())
	if !ok {
		row = &noRow
	}
	if s.Kind().system() {
		return limitSet{row.named[m]}
	}
	list := &row.anyone[m]
	if len(r.rowsByCountry[s.Realm]) == 0 {
		return limitSet{list.plain}
	}
	country := r.rowsByCountry[s.Realm][r.countryOf(s)]
	switch {
	case country == nil:
		return limitSet{list.plain}
	case list.decided:
		return limitSet{list.plain, country[m].adds}
	case country[m].plain:
		return limitSet{list.beside, country[m].decides}
	}
	return limitSet{list.plain, country[m].decides}
}

// size is what the limit allows a source with so many phones behind it.
func (m *limit) size(phones int) size {
	times := 1.0
	if m.perPhone {
		times = float64(max(1, phones))
	}
	return size{m.rate * times, float64(m.burst) * times}
}

// String is a limit as an administrator reads it: REGISTER 15/minute burst 4.
func (m *limit) String() string {
	method := "*"
	switch {
	case m.method == unparseable:
		method = "unparseable"
	case !m.star:
		method = m.method.String()
	}
	return fmt.Sprintf("%s %s burst %d", method, m.text, m.burst)
}

// quota is what a limit allows whom, whatever the method: 50/second burst 100 × 14 phones.
func (m *limit) quota(phones int) string {
	text := fmt.Sprintf("%s burst %d", m.text, m.burst)
	if m.perPhone && phones > 1 {
		text += fmt.Sprintf(" × %d phones", phones)
	}
	return text
}

// textFor is the limit of a source with so many phones behind it: REGISTER 15/minute burst 4 × 14 phones.
func (m *limit) textFor(phones int) string {
	if !m.perPhone || phones < 2 {
		return m.String()
	}
	return fmt.Sprintf("%s × %d phones", m, phones)
}
