package route

import (
	"slices"
	"strings"
)

// Verdict is what one rule has to say about a call.
type Verdict struct {
	Key   string // of the configuration: "trunks[2]", "routes.inbound[0]"
	Name  string // of the trunk; empty: of a rule on calls that come in
	Holds bool   // it is in the plan
	Why   string
}

// Explain is what each trunk, in file order, has to say about a number that the PBX calls: the reasons for the plan of Outbound.
func (t *Table) Explain(d Dialled, emergency bool) []Verdict {
	hits := t.hits(d)
	first := map[string]string{} // who brings a group
	for _, h := range hits {
		if x := &t.trunks[h.trunk]; x.Group != "" && first[x.Group] == "" && (!emergency || !slices.Contains(t.emergency, h.trunk)) {
			first[x.Group] = x.Name
		}
	}
	out := make([]Verdict, 0, len(t.trunks))
	for i := range t.trunks {
		x := &t.trunks[i]
		v := Verdict{Key: "trunks[" + itoa(i) + "]", Name: x.Name}
		at := slices.IndexFunc(hits, func(h hit) bool { return h.trunk == i })
		rank := slices.Index(t.emergency, i)
		switch {
		case emergency && rank >= 0:
			v.Holds, v.Why = true, "emergency.trunks["+itoa(rank)+"]: before all others"
		case at >= 0:
			h := hits[at]
			v.Holds = true
			v.Why = "outbound.match[" + itoa(h.pattern) + "] " + quoted(&x.match, h.pattern) + " fits " + h.as
			if x.Group != "" {
				v.Why += "; " + t.groupText(x, first[x.Group])
			}
		case x.match.Len() == 0:
			v.Why = "outbound.match is empty: calls come in only"
		case x.match.Len() == 1:
			v.Why = "outbound.match " + quoted(&x.match, 0) + " does not fit " + either(d)
		default:
			v.Why = "none of the " + itoa(x.match.Len()) + " expressions of outbound.match fits " + either(d)
		}
		out = append(out, v)
	}
	return out
}

func (t *Table) groupText(x *trunk, first string) string {
	text := "group " + x.Group + ", priority " + itoa(x.Priority) + ", weight " + itoa(x.Weight)
	if first != x.Name {
		text += ", brought by " + first
	}
	return text
}

// ExplainInbound is what each rule has to say about a call of a trunk, in order: the reasons for the rule of Inbound.
func (t *Table) ExplainInbound(trunk string, called, calling Dialled) []Verdict {
	out := make([]Verdict, 0, len(t.inbound))
	taken := -1
	for i := range t.inbound {
		r := &t.inbound[i]
		v := Verdict{Key: "routes.inbound[" + itoa(i) + "]"}
		switch {
		case taken >= 0:
			v.Why = "not asked: routes.inbound[" + itoa(taken) + "] fits"
		default:
			switch r.refuses(trunk, called, calling) {
			case fits:
				v.Holds, v.Why, taken = true, r.fitText(called, calling), i
			case otherTrunk:
				v.Why = "it is for calls of " + strings.Join(r.Trunks, ", ")
			case otherNumber:
				v.Why = "did " + listed(&r.did) + " does not fit " + either(called)
			case otherCaller:
				v.Why = "from " + listed(&r.from) + " does not fit " + either(calling)
			}
		}
		out = append(out, v)
	}
	return out
}

func (r *inbound) fitText(called, calling Dialled) string {
	var parts []string
	if len(r.Trunks) > 0 {
		parts = append(parts, "it is for this trunk")
	}
	if i, as := r.did.Match(called); i >= 0 {
		parts = append(parts, "did "+quoted(&r.did, i)+" fits "+as)
	}
	if i, as := r.from.Match(calling); i >= 0 {
		parts = append(parts, "from "+quoted(&r.from, i)+" fits "+as)
	}
	if len(parts) == 0 {
		return "it is for every call"
	}
	return strings.Join(parts, ", ")
}

// either is a number in the forms that patterns are tried on.
func either(d Dialled) string {
	text := d.Text
	if text == "" {
		text = "nobody"
	}
	if d.E164 == "" || d.E164 == d.Text {
		return text
	}
	return text + " or " + d.E164
}

func quoted(p *Patterns, i int) string { return "'" + written(p.list[i].re) + "'" }

func listed(p *Patterns) string {
	var out []string
	for i := range p.list {
		out = append(out, quoted(p, i))
	}
	return strings.Join(out, ", ")
}
