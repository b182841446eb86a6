package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// genuineAgents are User-Agent values of phones, softphones and exchanges in daily use. A deny rule that matches one
// will shut out an honest user some day.
var genuineAgents = []string{
	"eyeBeam release 1102q stamp 51814", "CiscoSystemsSIP-IPPhone", "Cisco/SPA504G-7.4.9c", "one-X Communicator",
	"Avaya one-X Deskphone", "Yealink SIP-T46U 108.86.0.45", "Yealink W60B 77.85.0.25", "Grandstream GXP2170 1.0.11.64",
	"PolycomVVX-VVX_411-UA/5.9.5.0614", "PolyEdge-E350-UA/8.1.2", "snomD785/10.1.148.1", "Fanvil X4U 2.12.2",
	"Gigaset N510 IP PRO/42.250", "Mitel-6869i-SIP/5.1.0", "Panasonic_KX-UT136/01.221", "Htek UC926 V2.42.6.5",
	"Cisco-CP8841-3PCC/11.3.1", "Cisco-SIPGateway/IOS-12.x", "AVM FRITZ!Box 7590 154.07.57", "X-Lite release 1104o stamp 56125",
	"Bria 6 release 6.5.2", "Zoiper rv2.10.11.2", "Z 5.5.14 v2.10.18.6", "Linphone Desktop/5.1.0 (linphone-sdk)",
	"MicroSIP/3.21.3", "baresip v1.0.0 (x86_64/linux)", "Jitsi2.10.5550Linux", "Acrobits Groundwire/6.0", "3CXPhone 6.0",
	"Asterisk PBX 18.16.0", "FPBX-16.0.40(18.16.0)", "FreeSWITCH-mod_sofia/1.10.9", "kamailio (5.6.3 (x86_64/linux))",
	"OpenSIPS (3.3.2 (x86_64/linux))", "sipXecs/21.04 sipXecs/sipxbridge (Linux)", "JsSIP 3.10.0",
}

// Warnings lists what is legal but probably not meant: rules that can never fire because of others, and user-agent
// rules that genuine phones would meet. `sbc check` prints them.
func (r *Rules) Warnings() []string { return slices.Clone(r.generated) }

func (r *Rules) findWarnings(c *Config) []string {
	list := shadowedLimits(c)
	agents := c.DenyUserAgents
	if agents == nil {
		agents = ShippedUserAgents()
	}
	return append(list, agentWarnings(agents, c.DenyUserAgents == nil)...)
}

// agentPath names a user-agent rule.
func agentPath(i int, shipped bool, e *UserAgentConfig) string {
	if shipped {
		return fmt.Sprintf("shipped user-agent rule %q", e.Match)
	}
	return fmt.Sprintf("policy.deny_user_agents[%d] %q", i, e.Match)
}

// agentWarnings looks for user-agent rules that match genuine phones, and for those behind another that matches all
// that they do.
func agentWarnings(list []UserAgentConfig, shipped bool) (warnings []string) {
	for i := range list {
		e := &list[i]
		alone := singleAgent(e)
		for _, name := range genuineAgents {
			if !e.Shadow && alone.match([]byte(name)) >= 0 {
				beside := ""
				if shipped {
					beside = " (write the other shipped rules out beside it)"
				}
				warnings = append(warnings, fmt.Sprintf("%s matches genuine phones (%s); to count them only: "+
					"{ match: %q, mode: %s, shadow: true }%s", agentPath(i, shipped, e), name, e.Match, agentModeOf(e.Mode), beside))
				break
			}
		}
		for j := range i {
			if list[j].Shadow == e.Shadow && agentCovers(&list[j], e) {
				warnings = append(warnings, fmt.Sprintf("%s never fires: %s stands before it and matches all that it does",
					agentPath(i, shipped, e), agentPath(j, shipped, &list[j])))
				break
			}
		}
	}
	return warnings
}

func singleAgent(e *UserAgentConfig) *agentMatcher {
	p := agentPattern{mode: agentModeOf(e.Mode), text: foldASCII(strings.TrimSpace(e.Match))}
	if p.mode == agentRegex {
		p.re, _ = compileAgentRegexp(e.Match)
	}
	return newAgentMatcher([]agentPattern{p})
}

// agentCovers reports whether a matches whatever b matches. Regular expressions are only compared by their text.
func agentCovers(a, b *UserAgentConfig) bool {
	am, bm := agentModeOf(a.Mode), agentModeOf(b.Mode)
	at, bt := foldASCII(strings.TrimSpace(a.Match)), foldASCII(strings.TrimSpace(b.Match))
	switch {
	case am == agentRegex || bm == agentRegex:
		return am == bm && a.Match == b.Match
	case am == agentContains:
		return strings.Contains(bt, at)
	case bm == agentContains:
		return false // what contains it may begin with anything
	case am == agentPrefix:
		return strings.HasPrefix(bt, at)
	case bm == agentPrefix:
		return false
	case am == agentExact:
		return bm == agentExact && at == bt
	}
	// A product name covers itself, and whatever goes on behind it with '/' or a space.
	return at == bt || strings.HasPrefix(bt, at) && strings.ContainsRune("/ \t", rune(bt[len(at)]))
}

// shadowedLimits looks for rate limits that never decide because others stand in their way at every address.
func shadowedLimits(c *Config) (warnings []string) {
	for i := range c.RateLimits {
		rule := &c.RateLimits[i]
		if rule.Stack || rule.Shadow {
			continue
		}
		for _, method := range sortedKeys(rule.Limits) {
			if j := shadowedBy(c, i, method); j >= 0 {
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
	if slices.Equal(c.RateLimits[i].Range, c.RateLimits[j].Range) {
		return "before it in the file"
	}
	return "narrower, or as narrow and before it"
}

// shadowedBy finds a rule that decides for a method in place of rule i wherever rule i holds, or -1.
func shadowedBy(c *Config, i int, method string) int {
	rule := &c.RateLimits[i]
	for j := range c.RateLimits {
		other := &c.RateLimits[j]
		_, lists := other.Limits[method]
		_, star := other.Limits["*"]
		if j == i || other.Stack || other.Shadow || !lists && (!star || method == "*") {
			continue
		}
		if coversRealms(other.Realms, rule.Realms) && wins(other, rule, j < i) {
			return j
		}
	}
	return -1
}

func coversRealms(outer, inner []string) bool {
	for _, r := range realmsOf(inner) {
		if !slices.Contains(realmsOf(outer), r) {
			return false
		}
	}
	return true
}

// wins reports whether rule a is at least as narrow as rule b everywhere that b holds; a tie goes to the first.
func wins(a, b *RateLimitConfig, first bool) bool {
	ra, _ := parseRanges(rangeOrAny(a.Range))
	rb, _ := parseRanges(rangeOrAny(b.Range))
	for _, p := range rb.prefixes() {
		if !winsAt(ra, rb, p, first) {
			return false
		}
	}
	return true
}

// winsAt looks at one prefix of b, and at its halves where only parts of it lie within a.
func winsAt(a, b addressRange, p netip.Prefix, first bool) bool {
	if wa, _, covered := a.covers(p); covered {
		wb, _, _ := b.covers(p)
		return wa.less(wb) || wa == wb && first
	}
	if p.IsSingleIP() || !a.meets(p) {
		return false
	}
	low := netip.PrefixFrom(p.Addr(), p.Bits()+1)
	high := netip.PrefixFrom(lastOf(low).Next(), p.Bits()+1)
	return winsAt(a, b, low, first) && winsAt(a, b, high, first)
}

func rangeOrAny(r []string) []string {
	if len(r) == 0 {
		return []string{"any"}
	}
	return r
}
