package policy

import (
	"net/netip"
	"strings"

	"sallyport/nat"
	"sallyport/policy/geo"
)

// countryRules is step 5.
type countryRules struct {
	rule    int32
	on      [2]bool // by realm
	listed  map[geo.Code]bool
	denies  bool // those of the list; else all others
	unknown bool // what no database knows is refused
	shadow  bool
}

// compileCountries reads the countries. Without a list, or without a database, nobody is judged: a file that is missing
// must not turn the world away.
func (r *Rules) compileCountries(c *Config) {
	e := &c.Countries
	if len(e.List) == 0 {
		return
	}
	k := &r.countries
	k.denies, k.unknown, k.shadow = e.Mode != "allow", e.Unknown == "deny", e.Shadow
	k.listed = make(map[geo.Code]bool, len(e.List))
	var names []string
	for _, text := range e.List {
		code, _ := geo.ParseCode(text)
		k.listed[code] = true
		names = append(names, code.String())
	}
	verb := "deny "
	if !k.denies {
		verb = "allow "
	}
	k.rule = r.addInfo(RuleInfo{Kind: "country", Path: "policy.countries", Name: verb + namesInShort(names), Shadow: e.Shadow}, "")
	if r.data.Countries.Len() == 0 {
		return
	}
	for _, realm := range realmsOf(e.Realms) {
		k.on[realm] = true
	}
}

// foreign is step 5: the source's country. It judges strangers and phones outside; a private address has no country, and
// trunks and nodes are known by theirs.
func (r *Rules) foreign(s *Subject, v *Verdict) bool {
	k := &r.countries
	if !k.on[s.Realm] || s.Side != nat.Outside || s.Kind().system() || private(s.Source.Addr()) {
		return false
	}
	code := r.countryOf(s)
	refused := k.listed[code] == k.denies
	if code == (geo.Code{}) {
		refused = k.unknown
	}
	switch {
	case !refused:
		return false
	case k.shadow:
		v.wouldRefuse(k.rule)
		return false
	}
	shadow := v.Shadow
	*v = verdict(Drop, 0, causeCountry)
	v.Rule, v.Shadow = k.rule, shadow
	return true
}

// countryOf is the country of the source, looked up once a message; zero: unknown, or a private address, which has none
// whatever a database says.
func (r *Rules) countryOf(s *Subject) geo.Code {
	if !s.hasCountry {
		s.hasCountry = true
		if a := s.Source.Addr(); !private(a) {
			s.country = r.data.Countries.Country(a)
		}
	}
	return s.country
}

// sharedSpace is the space that carriers use behind their own NAT (RFC 6598).
var sharedSpace = netip.MustParsePrefix("100.64.0.0/10")

// private reports an address that was given to no country: RFC 1918, 4193, 6598, loopback, link-local.
func private(a netip.Addr) bool {
	return a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsUnspecified() || sharedSpace.Contains(a)
}

// unknownCountries are the codes that rules name and the database never gives: rules that cannot fire.
func (r *Rules) unknownCountries(c *Config) (warnings []string) {
	if r.data.Countries.Len() == 0 {
		return nil
	}
	for _, text := range c.Countries.List {
		if code, err := geo.ParseCode(text); err == nil && !r.data.Countries.Holds(code) {
			warnings = append(warnings, "policy.countries.list: no address is in "+strings.ToUpper(code.String())+" by the database")
		}
	}
	return warnings
}
