package config

import (
	"fmt"
	"slices"
	"strings"

	"sallyport/sbc/route"
	"sallyport/sbc/tu"
)

// mostRoutes bounds the rules on calls that come in: a call may meet them all.
const mostRoutes = 10_000

// routes checks where calls go.
func (c *checker) routes() {
	country, known := route.CountryOf(c.doc.Routes.Country)
	if c.doc.Routes.Country != "" && !known {
		c.fail("routes.country", "write one of "+strings.Join(route.Countries(), " "), "the way in which %q dials is not known", c.doc.Routes.Country)
	}
	if n := len(c.doc.Routes.Inbound); n > mostRoutes {
		c.fail("routes.inbound", "gather numbers in fewer expressions", "%d rules; there may be %d, for every call meets them", n, mostRoutes)
	}
	every := -1
	for i := range c.doc.Routes.Inbound {
		at, e := index("routes.inbound", i), &c.doc.Routes.Inbound[i]
		if every >= 0 {
			c.warn(at, "put the rules with conditions before it", "never reached: %s takes every call", index("routes.inbound", every))
		}
		c.inboundRoute(at, e)
		if every < 0 && len(e.Trunk)+len(e.DID)+len(e.From) == 0 {
			every = i
		}
	}
	c.emergencyTrunks()
	c.groups()
	for i := range c.doc.Trunks {
		c.place(index("trunks", i), &c.doc.Trunks[i], country)
	}
}

// inboundRoute checks a rule on calls from trunks.
func (c *checker) inboundRoute(at string, e *InboundEntry) {
	c.trunkNames(at+".trunk", e.Trunk)
	for i, g := range e.To {
		if slices.Contains(e.To[:i], g) {
			c.fail(index(at+".to", i), "remove it", "%q stands here twice", g)
			continue
		}
		c.nodeGroup(index(at+".to", i), g)
	}
	c.numberRules(at+".numbers", e.Numbers)
}

// nodeGroup checks that calls from trunks find a node in a group.
func (c *checker) nodeGroup(at, group string) {
	var all []string
	in, takes := false, false
	for i := range c.doc.PBX.Nodes {
		n := &c.doc.PBX.Nodes[i]
		if n.Group != "" && !slices.Contains(all, n.Group) {
			all = append(all, n.Group)
		}
		if n.Group == group {
			in, takes = true, takes || slices.Contains(n.Realms, "trunks")
		}
	}
	switch {
	case !in && len(all) == 0:
		c.fail(at, "write group: "+group+" at the nodes that are meant, in pbx.nodes", "no node is in the group %q", group)
	case !in:
		c.fail(at, "groups of pbx.nodes are "+sortedList(all)+"; or write group: "+group+" at the nodes that are meant", "no node is in the group %q", group)
	case !takes:
		c.fail(at, "add trunks to the realms of one of its nodes", "no node of the group %q takes calls from trunks", group)
	}
}

// trunkNames checks a list of names of trunks.
func (c *checker) trunkNames(path string, list Words) {
	c.words(path, list, false)
	for i, name := range list {
		if slices.ContainsFunc(c.doc.Trunks, func(t TrunkEntry) bool { return t.Name == name }) {
			continue
		}
		var all []string
		for j := range c.doc.Trunks {
			all = append(all, c.doc.Trunks[j].Name)
		}
		hint := "add the trunk to trunks, or remove the name"
		if near := nearest(name, all); near != "" {
			hint = fmt.Sprintf("did you mean %q?", near)
		}
		c.fail(index(path, i), hint, "no trunk has the name %q", name)
	}
}

func (c *checker) emergencyTrunks() {
	const at = "emergency.trunks"
	c.trunkNames(at, c.doc.Emergency.Trunks)
	if len(c.doc.Emergency.Trunks) > 0 && len(c.doc.Emergency.Numbers) == 0 {
		c.warn(at, "write emergency: { numbers: [ \"112\", \"911\" ] }", "no number is an emergency number: emergency.numbers is empty")
	}
}

// groups warns of trunks that are in a group alone: a name is easily misspelt.
func (c *checker) groups() {
	size := map[string]int{}
	for i := range c.doc.Trunks {
		size[c.doc.Trunks[i].Group]++
	}
	for i := range c.doc.Trunks {
		t := &c.doc.Trunks[i]
		at := index("trunks", i)
		switch {
		case t.Group == "" && (t.Priority != 1 || t.Weight != 1):
			c.warn(at, "add group: NAME to the trunks that stand for each other", "priority and weight count among trunks of one group, and it is in none")
		case t.Group != "" && !nameRE.MatchString(t.Group):
			c.fail(at+".group", "use letters, digits, dot, dash and underscore, at most 64", "%q is not a name", t.Group)
		case t.Group != "" && size[t.Group] == 1 && !slices.ContainsFunc(c.doc.TrunkGroups, func(g GroupEntry) bool { return g.Name == t.Group }):
			c.warn(at+".group", "add it to the trunks that stand for each other, or remove it", "no other trunk is in the group %q", t.Group)
		}
	}
	for i := range c.doc.PBX.Nodes {
		if g := c.doc.PBX.Nodes[i].Group; g != "" && !nameRE.MatchString(g) {
			c.fail(index("pbx.nodes", i)+".group", "use letters, digits, dot, dash and underscore, at most 64", "%q is not a name", g)
		}
	}
}

// told reports whether a trunk is told from others of its sources by what is called there, or by its Contact.
func (t *TrunkEntry) told() bool {
	return len(t.Inbound.Match) > 0 || t.registers() && !t.Registration.GIN
}

// speaks reports whether a trunk has a peer of a transport.
func (t *TrunkEntry) speaks(transport string) bool {
	return slices.ContainsFunc(t.places(), func(p PeerEntry) bool { return p.Transport == transport || p.Address.Name.Any })
}

// place checks how a trunk is given numbers, and after which answers others are tried.
func (c *checker) place(at string, t *TrunkEntry, country *route.Country) {
	form, _ := route.ParseForm(t.Numbers.Format)
	switch {
	case country != nil || form == route.FormDialled:
	case form.AtHome():
		c.fail(at+".numbers.format", "write routes: { country: DE } with the code of your country", "%s numbers are written as a country dials, and routes.country does not say which", form)
	default:
		c.warn(at+".numbers.format", "write routes: { country: DE } with the code of your country", "routes.country is not set: only numbers that are dialled with + can be told, all others stay as they are")
	}
	for i, word := range t.Failover {
		c.failover(index(at+".failover", i), word)
		if slices.Contains(t.Failover[:i], word) {
			c.fail(index(at+".failover", i), "remove it", "%s stands here twice", word)
		}
	}
}

// failover checks a code after which another way is tried.
func (c *checker) failover(at, word string) {
	codes, ok := codesOf(word)
	const hint = "write codes such as 500, 502 or 404, or 5xx for all of them"
	switch {
	case !ok:
		c.fail(at, hint, "%q is no status code", word)
	case codes.First/100 == 6:
		c.fail(at, hint, "%s is the callee's own decision, wherever he is called (RFC 3261 §21.6): nobody else is asked after it", word)
	case codes.First == 486:
		c.fail(at, hint, "486 is the callee's own decision: he is busy, whichever way he is called")
	case codes.First != codes.Last && codes.First != 500:
		c.fail(at, hint, "%s holds answers that say what to do next, or that the callee has given himself", word)
	case codes.First == codes.Last && !tu.MayFailOver(codes.First):
		c.fail(at, hint, "%s says what to do next, or ends what we have ended: it is no failure of the way", word)
	}
}
