package policy

import (
	"fmt"
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
	list := limitWarnings(c)
	agents := c.DenyUserAgents
	if agents == nil {
		agents = ShippedUserAgents()
	}
	list = append(list, agentWarnings(agents, c.DenyUserAgents == nil, sparedAgents(c, len(c.MessageRules)))...)
	list = append(list, messageWarnings(c)...)
	list = append(list, banWarnings(c)...)
	return append(list, r.unknownCountries(c)...)
}

// agentPath names a user-agent rule.
func agentPath(i int, shipped bool, e *UserAgentConfig) string {
	if shipped {
		return fmt.Sprintf("shipped user-agent rule %q", e.Match)
	}
	return fmt.Sprintf("policy.deny_user_agents[%d] %q", i, e.Match)
}

// agentWarnings looks for user-agent rules that match genuine phones other than those that message rules let past, and for
// those behind another that matches all that they do. Of shipped ones, which nobody wrote, the first are told in one line.
func agentWarnings(list []UserAgentConfig, shipped bool, spared func(string) bool) (warnings []string) {
	var copied []string // shipped names that scanners have from phones
	for i := range list {
		e := &list[i]
		alone := singleAgent(e)
		for _, name := range genuineAgents {
			if !e.Shadow && e.Action != "alarm" && alone.match([]byte(name)) >= 0 && !spared(name) {
				if shipped {
					copied = append(copied, fmt.Sprintf("%q", e.Match))
					break
				}
				warnings = append(warnings, fmt.Sprintf("%s matches genuine phones (%s); to count them only: "+
					"{ match: %q, mode: %s, shadow: true }", agentPath(i, shipped, e), name, e.Match, compilePattern(e.Match, e.Mode).mode))
				break
			}
		}
		for j := range i {
			if list[j].Shadow == e.Shadow && (list[j].Action == "alarm") == (e.Action == "alarm") && agentCovers(&list[j], e) {
				warnings = append(warnings, fmt.Sprintf("%s never fires: %s stands before it and matches all that it does",
					agentPath(i, shipped, e), agentPath(j, shipped, &list[j])))
				break
			}
		}
	}
	if len(copied) > 0 {
		warnings = append(warnings, fmt.Sprintf("the shipped user-agent rules %s match genuine phones, too; to count one only, write the shipped rules out "+
			"and add shadow: true to it: { match: %s, mode: product, shadow: true }", strings.Join(copied, ", "), copied[0]))
	}
	return warnings
}

func singleAgent(e *UserAgentConfig) *agentMatcher {
	return newAgentMatcher([]agentPattern{compilePattern(e.Match, e.Mode)})
}

// agentCovers reports whether a matches whatever b matches. Regular expressions are only compared by their text.
func agentCovers(a, b *UserAgentConfig) bool {
	pa, pb := compilePattern(a.Match, a.Mode), compilePattern(b.Match, b.Mode)
	am, bm, at, bt := pa.mode, pb.mode, pa.text, pb.text
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
