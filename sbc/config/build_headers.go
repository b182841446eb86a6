package config

import (
	"sallyport/sbc/header"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// buildRules compiles what is changed in the messages of a peer; nil: nothing.
func buildRules(h *HeadersSection, n *NumbersSection, id *IdentitySection, c *CodesSection) *tu.Rules {
	r := tu.Rules{
		Inbound: buildHeaders(h.Inbound), Outbound: buildHeaders(h.Outbound),
		CodesIn: buildCodes(c.Inbound), CodesOut: buildCodes(c.Outbound),
	}
	if n != nil {
		r.NumbersIn, r.NumbersOut = buildNumbers(n.Inbound), buildNumbers(n.Outbound)
	}
	if id != nil {
		r.Naming = buildNaming(id)
	}
	if len(r.Inbound)+len(r.Outbound)+len(r.NumbersIn)+len(r.NumbersOut)+len(r.CodesIn)+len(r.CodesOut) == 0 && r.Naming == (tu.Naming{}) {
		return nil
	}
	return &r
}

var ruleActions = map[string]tu.RuleAction{
	"set": tu.RuleSet, "add": tu.RuleAdd, "remove": tu.RuleRemove, "replace": tu.RuleReplace,
}

func buildHeaders(list []HeaderEntry) []tu.Rule {
	var out []tu.Rule
	for i := range list {
		e := &list[i]
		r := tu.Rule{
			Header: message.CanonicalName(e.Header), Action: ruleActions[e.Action], Method: e.Method, Match: e.Match.Regexp(), Value: e.Value,
		}
		if r.Match != nil {
			r.Value, _ = header.Template(e.Value)
		}
		out = append(out, r)
	}
	return out
}

func buildNumbers(list []NumberEntry) []tu.Number {
	var out []tu.Number
	for i := range list {
		e := &list[i]
		n := tu.Number{Called: e.Of == "called", Match: e.Match.Regexp()}
		n.Replace, _ = header.Template(e.Replace)
		out = append(out, n)
	}
	return out
}

func buildCodes(list []CodeEntry) []tu.Code {
	var out []tu.Code
	for _, e := range list {
		out = append(out, tu.Code{From: e.From, To: e.To})
	}
	return out
}

func buildNaming(id *IdentitySection) (out tu.Naming) {
	out.From, out.FromFixed = identityForm(id.From)
	out.Asserted, out.AssertedFixed = identityForm(id.Asserted)
	out.Privacy, _ = identityForm(id.Privacy)
	out.STIR, _ = identityForm(id.STIR)
	out.Diversion = map[string]tu.DiversionForm{
		"pass": tu.DiversionPass, "remove": tu.DiversionRemove, "diversion": tu.DiversionField, "history-info": tu.DiversionHistory,
	}[id.Diversion]
	return out
}

// account puts our account in the place of the word that stands for it. Without one, which has been said, nothing is changed.
func (id IdentitySection) account(s *RegistrarSection) *IdentitySection {
	name := "pass"
	if s.Username != "" && s.domain() != "" {
		n := message.NameAddr{URI: message.URI{Scheme: "sip", User: s.Username, Host: s.domain()}}
		name = n.String()
	}
	for _, k := range []*string{&id.From, &id.Asserted} {
		if *k == wordAccount {
			*k = name
		}
	}
	return &id
}

// wordAccount stands for the user that a trunk registers as.
const wordAccount = "account"

// identityForm reads a word, or a fixed name.
func identityForm(text string) (tu.IdentityForm, message.NameAddr) {
	for f := tu.IdentityPass; f <= tu.IdentityRemote; f++ {
		if f != tu.IdentityFixed && f.String() == text {
			return f, message.NameAddr{}
		}
	}
	n, err := message.ParseNameAddr(text)
	if err != nil {
		return tu.IdentityPass, n
	}
	return tu.IdentityFixed, n
}
