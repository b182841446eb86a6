package config

import (
	"reflect"
	"slices"

	"go.yaml.in/yaml/v4"
)

// Preset is a kind of provider: what its trunks have in the place of the defaults. What the file says itself comes after it.
type Preset struct {
	Name string
	Kind string // of provider, in a sentence
	Sets string // keys of a trunk, as the file would have them
}

// Presets are all, in the order in which they are documented. Several may stand on one trunk: the later one counts, but what they
// say that a provider does not support adds up.
func Presets() []Preset { return slices.Clone(presets) }

var presets = []Preset{
	{"sipconnect-register", "SIPconnect 2.0, registration mode: one registration for all numbers (RFC 6140), E.164 numbers with +", `
mode: register
registration: { gin: true, expires: 3600s }
keepalive: { method: none }
numbers: { format: plus, user_phone: true }
identity: { asserted: p-asserted, diversion: history-info }
dtmf: rfc4733
session_timer: 1800s`},
	{"sipconnect-static", "SIPconnect 2.0, static mode: known by address, E.164 numbers with +", `
mode: address
keepalive: { method: options, interval: 30s }
numbers: { format: plus, user_phone: true }
identity: { asserted: p-asserted, diversion: history-info }
dtmf: rfc4733
session_timer: 1800s`},
	{"account-from", "the user of From must be the account; who calls stands in P-Asserted-Identity", `
identity: { from: account, asserted: p-asserted }`},
	{"no-asserted", "no P-Asserted-Identity is taken or sent: From alone says who calls", `
identity: { asserted: remove }`},
	{"preferred", "who calls is told by P-Preferred-Identity, which the provider checks", `
identity: { asserted: p-preferred }`},
	{"rpid", "who calls is told by Remote-Party-ID", `
identity: { asserted: remote-party-id }`},
	{"pilot", "P-Asserted-Identity is the account, the pilot number, for every call; From says who calls", `
identity: { asserted: account }`},
	{"untrusted", "it does not hide who calls by itself: private calls have no names in them", `
identity: { privacy: remove }`},
	{"diversion", "who has forwarded a call is told by Diversion", `
identity: { diversion: diversion }`},
	{"history-info", "who has forwarded a call is told by History-Info", `
identity: { diversion: history-info }`},
	{"plus", "numbers as +49301234567", `
numbers: { format: plus }`},
	{"no-plus", "numbers as 49301234567", `
numbers: { format: e164 }`},
	{"national", "numbers as 0301234567, as they are dialled in the country; wants `routes.country`", `
numbers: { format: national }`},
	{"international", "numbers as 0049301234567, as they are dialled from the country; wants `routes.country`", `
numbers: { format: international }`},
	{"user-phone", "numbers must be said to be numbers: user=phone", `
numbers: { user_phone: true }`},
	{"no-hold-reinvite", "a re-INVITE that holds is refused, or ends the call", `
hold: local`},
	{"early-183", "early media in a 180 is not heard, or the 180 is refused", `
early_media: 183`},
	{"no-update", "UPDATE is refused, whatever its Allow says", `
unsupported: [ update ]`},
	{"no-100rel", "reliable provisional answers go wrong (PRACK)", `
unsupported: [ 100rel ]`},
	{"no-replaces", "a call cannot take the place of another one, whatever its Supported says", `
unsupported: [ replaces ]`},
	{"no-info", "INFO is refused, or ends the call; digits are telephone events", `
unsupported: [ info ]
dtmf: rfc4733`},
	{"no-session-timer", "session timers go wrong: none is asked for, and none of the gate's own refreshes is sent unless the provider asks", `
session_timer: 0s`},
	{"no-options", "OPTIONS is not answered: empty lines keep the way open, and the calls themselves show whether it lives", `
keepalive: { method: crlf }`},
	{"symmetric", "its Via names places where answers do not arrive: they go to where the request came from", `
symmetric: true`},
}

// preset puts what the presets of an element set over its defaults. Names that are none are told where they are decoded.
func (d *decoder) preset(n *yaml.Node, v reflect.Value) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind != yaml.MappingNode {
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value != "preset" {
			continue
		}
		list := n.Content[i+1]
		names := list.Content
		if list.Kind == yaml.ScalarNode {
			names = []*yaml.Node{list}
		}
		for _, name := range names {
			if at := slices.IndexFunc(presets, func(p Preset) bool { return p.Name == name.Value }); at >= 0 {
				presets[at].addTo(v)
			}
		}
	}
}

// addTo applies a preset behind others, whose lists of what is not taken stay.
func (p *Preset) addTo(v reflect.Value) {
	e, ok := v.Addr().Interface().(*TrunkEntry)
	if !ok {
		p.apply(v)
		return
	}
	before := e.Unsupported
	e.Unsupported = nil
	p.apply(v)
	for _, word := range e.Unsupported {
		if !slices.Contains(before, word) {
			before = append(slices.Clip(before), word)
		}
	}
	e.Unsupported = before
}

// apply decodes what a preset sets.
func (p *Preset) apply(v reflect.Value) {
	root, err := parseTree([]byte(p.Sets))
	if err != nil || root == nil {
		panic("preset " + p.Name + " is not YAML") // a constant of this file; a test reads all
	}
	var report Report
	within := &decoder{report: &report, from: newOrigin("preset " + p.Name)}
	within.mapping("", root, v)
	if !report.OK() {
		panic("preset " + p.Name + ": " + report.String())
	}
}
