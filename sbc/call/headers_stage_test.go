package call

import (
	"regexp"

	"sallyport/sbc/header"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

func whole(s string) *regexp.Regexp { return regexp.MustCompile(`\A(?:` + s + `)\z`) }

func template(s string) string {
	t, _ := header.Template(s)
	return t
}

func named(s string) message.NameAddr {
	n, err := message.ParseNameAddr(s)
	if err != nil {
		panic(err)
	}
	return n
}

// ruleSets are what administrators of the stage have asked for, by the word behind a hop's name.
var ruleSets = map[string]tu.Rules{
	// A provider that knows E.164 numbers alone, and a PBX that dials and shows national ones.
	"numbers": {
		NumbersIn: []tu.Number{
			{Match: whole(`\+49([1-9][0-9]+)`), Replace: template("0$1")}, {Called: true, Match: whole(`\+49(.*)`), Replace: template("0$1")},
		},
		NumbersOut: []tu.Number{
			{Called: true, Match: whole(`\+?(49.*)`), Replace: template("00$1")}, {Match: whole(`\+(.*)`), Replace: template("00$1")},
		},
	},
	"rules": {
		Inbound: []tu.Rule{
			{Header: "X-Trunk", Value: "itsp"}, {Header: "Subject", Action: tu.RuleReplace, Match: whole("(.*)!"), Value: template("$1")},
		},
		Outbound: []tu.Rule{
			{Header: "X-Customer", Action: tu.RuleAdd, Method: "INVITE", Value: "42"}, {Header: "Reason", Action: tu.RuleRemove},
			{Header: "From", Method: "INVITE", Value: `"Main" <sip:+4930555@gw.example>`},
		},
	},
	"fixed": {Naming: tu.Naming{
		From: tu.IdentityFixed, FromFixed: named("<sip:+4930555@gw.example>"), Asserted: tu.IdentityFixed, AssertedFixed: named("<sip:+4930555@gw.example>"),
	}},
	"untrusted": {Naming: tu.Naming{Privacy: tu.IdentityRemove}},
	"remote":    {Naming: tu.Naming{Asserted: tu.IdentityRemote}},
	"history":   {Naming: tu.Naming{Diversion: tu.DiversionHistory}},
	"codes": {
		CodesIn: []tu.Code{{From: 603, To: 486}}, CodesOut: []tu.Code{{From: 503, To: 480}, {From: 404, To: 604}},
	},
}

// ruled gives a hop the rules of a word.
func ruled(h tu.Hop, word string) (tu.Hop, bool) {
	r, is := ruleSets[word]
	if is {
		h.Peer.Rules = &r
	}
	return h, is
}

// parties are From and To of a request that begins something, where there are rules on them.
func (p *player) parties(m *message.Message) string {
	if !m.IsRequest() || m.To.Tag != "" || (p.hop[caller].Peer.Rules == nil && (p.hop[callee].Peer == nil || p.hop[callee].Peer.Rules == nil)) {
		return ""
	}
	from, to := m.From, m.To
	from.Tag = ""
	return " From:" + from.String() + " To:" + to.String()
}
