package policy

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/gaissmai/bart"

	"sallyport/nat"
	"sallyport/policy/geo"
)

// lists are the white and the black list. A message costs one look-up of its source: every prefix of the table holds what
// both lists say of it, wider prefixes included. What is said of a country or of everybody stands apart, because nobody
// knows its prefixes.
type lists struct {
	table     *bart.Table[listed]
	countries map[geo.Code]listed
	everybody listed
	black     []blackItem // what listed.black numbers
	scratch   []netip.Prefix
}

// listed is what the lists say of a source, by realm.
type listed [2]struct {
	white  int32 // 1 + the number of the narrowest white list rule; 0: none
	black  int32 // 1 + the position of the first item in lists.black; 0: none
	exempt exempt
}

// blackItem is one black list entry, and the one to ask when it has expired: behind it in the file or wider.
type blackItem struct {
	until time.Time
	rule  int32
	next  int32 // as listed.black
}

// listItem is an entry of either list on its way into the table.
type listItem struct {
	prefix netip.Prefix
	rule   int32
	exempt exempt // 0: of the black list
	realms [2]bool
	until  time.Time
}

func (r *Rules) compileLists(c *Config) {
	r.lists = lists{table: new(bart.Table[listed]), countries: map[geo.Code]listed{}}
	items := make([]listItem, 0, len(c.WhiteList)+len(c.BlackList))
	take := func(texts, realms []string, item listItem) {
		addresses, _ := parseRanges(texts)
		for _, realm := range realmsOf(realms) {
			item.realms[realm] = true
		}
		items = r.lists.take(addresses.resolve(r.data), item, items)
	}
	for i := range c.WhiteList {
		e := &c.WhiteList[i]
		rule := r.listInfo("white-list", "policy.white_list", i, e.Range, e.Comment)
		take(e.Range, e.Realms, listItem{rule: rule, exempt: exemptionsOf(e.Exempt)})
	}
	for i := range c.BlackList {
		e := &c.BlackList[i]
		rule := r.listInfo("black-list", "policy.black_list", i, e.Range, e.Comment)
		take(e.Range, e.Realms, listItem{rule: rule, until: e.Until})
	}
	// Wider prefixes go first, so that each prefix inherits with one look-up. Of equal ones the first in the file goes last:
	// it then stands before the others.
	slices.SortFunc(items, func(a, b listItem) int {
		if a.prefix.Bits() != b.prefix.Bits() {
			return cmp.Compare(a.prefix.Bits(), b.prefix.Bits())
		}
		return cmp.Compare(b.rule, a.rule)
	})
	for i := range items {
		item := &items[i]
		said, _ := r.lists.table.LookupPrefix(item.prefix)
		r.lists.add(&said, item)
		r.lists.table.Insert(item.prefix, said)
	}
	r.lists.black, r.lists.scratch = slices.Clip(r.lists.black), nil
}

// listInfo numbers a list's entry.
func (r *Rules) listInfo(kind, key string, i int, ranges []string, comment string) int32 {
	name := ranges[0]
	if len(ranges) > 1 {
		name = namesInShort(ranges)
	}
	return r.addInfo(RuleInfo{Kind: kind, Path: entryPath(key, i), Name: name, Comment: comment},
		strings.Join(ranges, ", "))
}

// namesInShort joins the ranges of an entry for people; an entry may have very many.
func namesInShort(ranges []string) string {
	const shown = 8
	if len(ranges) <= shown {
		return strings.Join(ranges, ", ")
	}
	return fmt.Sprintf("%s, … (%d in all)", strings.Join(ranges[:shown], ", "), len(ranges))
}

// take puts what an entry says of countries and everybody into its place, and its prefixes behind items.
func (l *lists) take(addresses addressRange, item listItem, items []listItem) []listItem {
	everybody := addresses.any
	for _, s := range addresses.spans {
		if s.whole() {
			continue // `any` says the same
		}
		l.scratch = s.appendPrefixes(l.scratch[:0])
		for _, p := range l.scratch {
			item.prefix = p
			items = append(items, item)
		}
	}
	for _, code := range addresses.countries {
		said := l.countries[code]
		l.append(&said, &item)
		l.countries[code] = said
	}
	if everybody {
		l.append(&l.everybody, &item)
	}
	return items
}

// add puts an entry before those that are there already.
func (l *lists) add(said *listed, item *listItem) {
	first := int32(0) // shared by both realms if both have the same behind it
	for realm := range said {
		s := &said[realm]
		switch {
		case !item.realms[realm]:
		case item.exempt != 0:
			s.white, s.exempt = item.rule+1, s.exempt|item.exempt
		case first > 0 && l.black[first-1].next == s.black:
			s.black = first
		default:
			l.black = append(l.black, blackItem{item.until, item.rule, s.black})
			first = int32(len(l.black))
			s.black = first
		}
	}
}

// append puts an entry behind those that are there already.
func (l *lists) append(said *listed, item *listItem) {
	for realm := range said {
		s := &said[realm]
		if !item.realms[realm] {
			continue
		}
		if item.exempt != 0 {
			s.exempt |= item.exempt
			if s.white == 0 {
				s.white = item.rule + 1
			}
			continue
		}
		l.black = append(l.black, blackItem{until: item.until, rule: item.rule})
		end := &s.black
		for *end != 0 {
			end = &l.black[*end-1].next
		}
		*end = int32(len(l.black))
	}
}

// listedAt is what the lists say of an address at all, narrowest first: its own prefixes, its country, everybody.
func (r *Rules) listedAt(s *Subject) (said [3]listed) {
	l := &r.lists
	said[0], _ = l.table.Lookup(s.Source.Addr())
	if len(l.countries) > 0 {
		said[1] = l.countries[r.countryOf(s)]
	}
	said[2] = l.everybody
	return said
}

// whiteList is step 2: which checks the source is spared.
func (r *Rules) whiteList(s *Subject, v *Verdict) exempt {
	rule := int32(0)
	s.listed = r.listedAt(s)
	for i := range s.listed {
		if rule == 0 {
			rule = s.listed[i][s.Realm].white
		}
	}
	if rule != 0 {
		v.because(causeWhite)
		v.Rule = rule - 1
	}
	return s.spared()
}

// spared is what the white list spares the source that whiteList has looked up.
func (s *Subject) spared() (spared exempt) {
	for i := range s.listed {
		spared |= s.listed[i][s.Realm].exempt
	}
	return spared
}

// blackList is the half of step 3 that the file says, for the source that whiteList has looked up. An entry whose time has
// passed says nothing. A country binds no trunk and no node: a database that errs must not end a provider's calls.
func (r *Rules) blackList(now time.Time, s *Subject, v *Verdict) bool {
	for i := range s.listed {
		if i == 1 && s.Kind().system() {
			continue
		}
		for at := s.listed[i][s.Realm].black; at != 0; {
			item := &r.lists.black[at-1]
			if item.until.IsZero() || now.Before(item.until) {
				*v = verdict(Drop, 0, causeBlack)
				v.Rule = item.rule
				return true
			}
			at = item.next
		}
	}
	return false
}

// exemptions is what the white list spares an address.
func (r *Rules) exemptions(realm nat.Realm, a netip.Addr) (spared exempt) {
	s := Subject{Realm: realm, Source: netip.AddrPortFrom(a, 0)}
	for _, said := range r.listedAt(&s) {
		spared |= said[realm].exempt
	}
	return spared
}

// exempted are the prefixes that the white list spares a check, at any listener. Countries have none that anybody knows.
func (r *Rules) exempted(from exempt) (list []netip.Prefix) {
	spares := func(said listed) bool { return (said[nat.Phones].exempt|said[nat.Trunks].exempt)&from != 0 }
	if spares(r.lists.everybody) {
		list = append(list, netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0))
	}
	for p, said := range r.lists.table.All() {
		if spares(said) {
			list = append(list, p)
		}
	}
	return list
}
