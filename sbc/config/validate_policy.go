package config

import (
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"sallyport/nat"
)

func (c *checker) policy() {
	p := &c.doc.Policy
	for i := range p.WhiteList {
		c.white(index("policy.white_list", i), &p.WhiteList[i])
	}
	for i := range p.BlackList {
		at, e := index("policy.black_list", i), &p.BlackList[i]
		c.addresses(at+".range", e.Range)
		c.words(at+".realms", e.Realms, true)
		c.blocked(at, e)
	}
	c.feeds()
	c.countries()
	c.messages()
	c.agents()
	c.rates()
	c.bans()
	c.calls()
	c.emergency()
	c.words("policy.log.classes", p.Log.Classes, false)
	c.within("policy.recorder", p.Recorder, smallestRecorder, largestRecorder, "0 for none")
	c.captures(&p.Capture)
}

// Bounds of the flight recorder: less holds nothing that would tell a story, more is a task for a disk.
const (
	smallestRecorder = Size(64 << 10)
	largestRecorder  = Size(4 << 30)
)

// Bounds of a file of captures.
const (
	smallestCapture = Size(64 << 10)
	largestCapture  = Size(64 << 30)
)

func (c *checker) captures(s *CaptureSection) {
	if s.MaxSize < smallestCapture || s.MaxSize > largestCapture {
		c.fail("policy.capture.max_size", "write "+smallestCapture.String()+" to "+largestCapture.String(), "%s is out of range", s.MaxSize)
	}
}

// within checks that a size is 0 or lies between two others.
func (c *checker) within(path string, z, low, high Size, zero string) {
	if z != 0 && (z < low || z > high) {
		c.fail(path, "write "+low.String()+" to "+high.String()+", or "+zero, "%s is out of range", z)
	}
}

func (c *checker) addresses(path string, r Scopes) {
	if len(r) == 0 {
		c.fail(path, scopeHint, "missing")
	}
}

func (c *checker) white(at string, e *WhiteEntry) {
	c.addresses(at+".range", e.Range)
	c.words(at+".realms", e.Realms, true)
	c.words(at+".exempt", e.Exempt, true)
	everything := len(e.Exempt) == 4
	for i, s := range e.Range {
		path := index(at+".range", i)
		switch {
		case slices.ContainsFunc(s.Prefixes(), isFamily):
			c.fail(path, "name the addresses", "every address of a family: nothing would be checked any more")
		case everything && (s.Country() != "" || isWide(s.Range)):
			c.warn(path, "name what it is exempt from, such as exempt: [ limits ], or fewer addresses",
				"%s is exempt from every check: that is much for so many addresses", s)
		}
	}
}

// isWide tells ranges of addresses that can hardly all be known by sight: over a /16 of IPv4, over a /32 of IPv6. Private
// networks are our own.
func isWide(r Range) bool {
	return slices.ContainsFunc(r.Prefixes(), func(p netip.Prefix) bool {
		return !isPrivate(p.Addr()) && (p.Addr().Is4() && p.Bits() < 16 || p.Addr().Is6() && p.Bits() < 32)
	})
}

// blocked warns of a black-listed trunk or node: the list binds them like everybody.
func (c *checker) blocked(path string, e *BlackEntry) {
	in, ranges := realms(e.Realms), e.Range.ranges()
	for i := range c.doc.Trunks {
		if s, ok := namedIn(ranges, &c.doc.Trunks[i]); ok && in[nat.Trunks] {
			c.warn(path, "narrow the range, or remove the trunk", "%s of trunk %q is black-listed", s, c.doc.Trunks[i].Name)
		}
	}
	for _, n := range c.doc.PBX.Nodes {
		serves := realms(n.Realms)
		meets := in[nat.Phones] && serves[nat.Phones] || in[nat.Trunks] && serves[nat.Trunks]
		if n.Address.IsValid() && meets && ranges.Contains(n.Address.Addr()) {
			c.warn(path, "narrow the range", "the PBX node %s is black-listed", n.Address.Addr())
		}
	}
}

// namedIn finds a peer of a trunk, or one of its sources, that lies in ranges.
func namedIn(ranges Ranges, t *TrunkEntry) (who string, ok bool) {
	for _, p := range t.Peers {
		if p.Address.IsValid() && ranges.Contains(p.Address.Addr()) {
			return p.Address.Addr().String(), true
		}
	}
	for _, s := range effectiveSources(t) {
		if slices.ContainsFunc(ranges, s.Overlaps) {
			return s.String(), true
		}
	}
	return "", false
}

func (c *checker) rates() {
	p, names := &c.doc.Policy, ruleNames{}
	for i := range p.RateLimits {
		at, e := index("policy.rate_limits", i), &p.RateLimits[i]
		names.check(c, at, e.Name, "remote phones", "debt is kept by it")
		c.addresses(at+".range", e.Range)
		c.words(at+".realms", e.Realms, true)
		switch {
		case e.Preset != "":
			c.preset(at, e)
		case len(e.Limits) == 0:
			c.fail(at+".limits", "write limits: { INVITE: 10/minute }, or preset: home", "the rule limits nothing")
		}
		for _, method := range slices.Sorted(maps.Keys(e.Limits)) {
			c.limited(join(at+".limits", method), method)
		}
	}
}

// unparseable stands for a method in rate_limits: what is no SIP.
const unparseable = "unparseable"

func (c *checker) limited(path, method string) {
	switch {
	case method == unparseable:
	case nearest(method, []string{unparseable}) != "":
		c.fail(path, "write "+unparseable, "%q is not a method", method)
	default:
		c.method(path, method)
	}
}

// ruleNames are the names of the rules of one list so far.
type ruleNames map[string]bool

// check checks the name of a rule, by which logs, counts and a reload know it.
func (n ruleNames) check(c *checker, at, name, example, why string) {
	switch {
	case name == "":
		c.fail(at+".name", "write name: "+example+"; logs and why speak of the rule by its name", "missing")
	case len(name) > 64 || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }):
		c.fail(at+".name", "use at most 64 printable characters", "%q is not a name", name)
	case n[name]:
		c.fail(at+".name", "give one of the two another name; "+why, "%q is the name of another rule", name)
	}
	n[name] = true
}

var presetRE = regexp.MustCompile(`^(single-phone|home|trunk|office:([1-9][0-9]{0,4}))$`)

// mostPhones is the largest office that a preset is for.
const mostPhones = 25_000

func (c *checker) preset(at string, e *RateEntry) {
	const hint = "write single-phone, home, office:14 (with the number of phones) or trunk"
	m := presetRE.FindStringSubmatch(e.Preset)
	if m == nil {
		c.fail(at+".preset", hint, "%q is not a preset", e.Preset)
		return
	}
	if n, _ := strconv.Atoi(m[2]); n > mostPhones {
		c.fail(at+".preset", hint+", at most "+strconv.Itoa(mostPhones), "%q is too large", e.Preset)
	}
	for _, f := range []struct {
		key   string
		given bool
	}{{"limits", len(e.Limits) > 0}, {"burst", e.Burst > 0}} {
		if f.given {
			c.fail(at+"."+f.key, "keep either preset or limits and burst", "stands beside preset, which says it already")
		}
	}
}

// method checks a method's name; methods are case-sensitive (RFC 3261 §7.1).
func (c *checker) method(path, method string) {
	if !tokenRE.MatchString(method) {
		c.fail(path, "write a method such as INVITE, or * for all others", "%q is not a method", method)
		return
	}
	if up := strings.ToUpper(method); up != method {
		c.fail(path, "write "+up, "%q is not a method: methods are upper case", method)
	}
}

// Bounds of bans.
const (
	longestWithin = Duration(longestExpiry)
	longestBan    = Duration(366) * longestExpiry
	scannerPoints = 10 // for a request with the name of a scanner
)

func (c *checker) bans() {
	const at = "policy.bans"
	b := &c.doc.Policy.Bans
	second := shortestProbe
	c.lasting(at+".within", b.Within, second, longestWithin)
	c.lasting(at+".first", b.First, second, longestBan)
	c.lasting(at+".most", b.Most, second, longestBan)
	if b.Most < b.First {
		c.fail(at+".most", "write at least "+b.First.String(), "%s is shorter than the first ban", b.Most)
	}
	switch {
	case b.Points == 0:
		c.warn(at+".points", "leave the key out for 20; to look on first, write shadow: true", "0: nobody is banned, whatever it does")
	case b.Points < scannerPoints:
		c.warn(at+".points", "write 20; a wrong password is 5 points",
			"%d: a phone is banned after "+times((b.Points+wrongDigest-1)/wrongDigest), b.Points)
	}
	if b.Kernel && b.Shadow {
		c.warn(at+".kernel", "remove one of the two", "has nothing to do while shadow bans nobody")
	}
}

// wrongDigest is how many points a wrong password is.
const wrongDigest = 5

func times(n int) string {
	if n == 1 {
		return "one wrong password"
	}
	return strconv.Itoa(n) + " wrong passwords"
}

// lasting checks that a time lies between two others.
func (c *checker) lasting(path string, d, low, high Duration) {
	if d < low || d > high {
		c.fail(path, "write "+low.String()+" to "+high.String(), "%s is out of range", d)
	}
}

// pbxLimits checks what may reach the PBX.
func (c *checker) pbxLimits() {
	for _, method := range slices.Sorted(maps.Keys(c.doc.PBX.Limits)) {
		at := join("pbx.limits", method)
		c.method(at, method)
		if slices.Contains(withinCalls, method) {
			c.fail(at, "remove it; INVITE bounds the calls themselves", "%s belongs to a call that is there already: it is never held back", method)
		}
	}
}

// withinCalls are the methods that only make sense within a dialog or a transaction (RFC 3261, 3262, 3311, 6086).
var withinCalls = []string{"ACK", "BYE", "CANCEL", "INFO", "PRACK", "UPDATE"}
