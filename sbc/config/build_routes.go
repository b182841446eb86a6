package config

import (
	"regexp"
	"strconv"

	"sallyport/sbc/route"
	"sallyport/sbc/tu"
)

// Routes is where calls go that the numbers of the trunks do not decide by themselves.
type Routes struct {
	Inbound   []route.Inbound
	Country   *route.Country // where the PBX's phones dial; nil: unknown
	Emergency []string       // names of the trunks that emergency calls are given to first, in order
}

func buildRoutes(d *Document) Routes {
	r := Routes{Emergency: d.Emergency.Trunks}
	r.Country, _ = route.CountryOf(d.Routes.Country)
	for i := range d.Routes.Inbound {
		e := &d.Routes.Inbound[i]
		r.Inbound = append(r.Inbound, route.Inbound{
			Trunks: e.Trunk, DID: e.DID.compiled(), From: e.From.compiled(), To: e.To, Numbers: buildNumbers(e.Numbers),
		})
	}
	return r
}

func (e Expressions) compiled() []*regexp.Regexp {
	var out []*regexp.Regexp
	for _, p := range e {
		out = append(out, p.Regexp())
	}
	return out
}

// buildPlace is a trunk's place among others: in the plan, and at its source.
func buildPlace(t *Trunk, e *TrunkEntry) {
	t.Group, t.Priority, t.Weight = e.Group, e.Priority, e.Weight
	t.Numbers = e.Inbound.Match.compiled()
	for _, word := range e.Failover {
		if r, ok := codesOf(word); ok {
			t.Failover = append(t.Failover, r)
		}
	}
}

// codesOf reads a status code, or the class of one: 5xx.
func codesOf(word string) (tu.CodeRange, bool) {
	if len(word) != 3 || word[0] < '1' || word[0] > '6' {
		return tu.CodeRange{}, false
	}
	if word[1:] == "xx" {
		first := int(word[0]-'0') * 100
		return tu.CodeRange{First: first, Last: first + 99}, true
	}
	n, err := strconv.Atoi(word)
	return tu.CodeRange{First: n, Last: n}, err == nil
}

// shaped gives trunks the form that their numbers are written in.
func shaped(list []Trunk, d *Document) []Trunk {
	country, _ := route.CountryOf(d.Routes.Country)
	for i := range list {
		n := &d.Trunks[i].Numbers
		form, _ := route.ParseForm(n.Format)
		if form == route.FormDialled && !n.UserPhone {
			continue
		}
		shape := route.Shape{Country: country, Form: form, Phone: n.UserPhone, Keep: d.Emergency.Numbers}
		if list[i].Rules == nil {
			list[i].Rules = &tu.Rules{}
		}
		list[i].Rules.Form = shape.Apply
	}
	return list
}
