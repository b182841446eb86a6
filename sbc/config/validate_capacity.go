package config

import "slices"

// capacities checks what bounds calls.
func (c *checker) capacities() {
	names := map[string]bool{}
	for i := range c.doc.TrunkGroups {
		g, path := &c.doc.TrunkGroups[i], index("trunk_groups", i)
		switch {
		case g.Name == "":
			c.fail(path+".name", "write name: the group that trunks[].group says", "missing")
		case !nameRE.MatchString(g.Name):
			c.fail(path+".name", "use letters, digits, dot, dash and underscore, at most 64", "%q is not a name", g.Name)
		case names[g.Name]:
			c.fail(path+".name", "give one of the two another name", "%q is the name of another group", g.Name)
		case !slices.ContainsFunc(c.doc.Trunks, func(t TrunkEntry) bool { return t.Group == g.Name }):
			c.warn(path+".name", "name it in trunks[].group, or remove it", "no trunk is of the group %q", g.Name)
		}
		names[g.Name] = true
		c.capacity(path+".capacity", &g.Capacity)
	}
	for i := range c.doc.Trunks {
		t, path := &c.doc.Trunks[i], index("trunks", i)+".capacity"
		c.capacity(path, &t.Capacity)
		for k := range c.doc.TrunkGroups {
			g := &c.doc.TrunkGroups[k]
			if g.Name == t.Group && g.Capacity.Calls > 0 && t.Capacity.Calls > g.Capacity.Calls {
				c.warn(path+".calls", "lower it, or raise the group's", "its group %q has room for %d calls only", g.Name, g.Capacity.Calls)
			}
		}
	}
	p := &c.doc.Phones.Capacity
	if p.Calls > 0 && p.PerSource > 0 && p.PerSource < p.Calls {
		c.warn("phones.capacity.per_source", "raise it", "fewer calls of an address than of a single phone: phones.capacity.calls is never reached")
	}
}

func (c *checker) capacity(path string, s *CapacitySection) {
	switch at := path + ".code"; s.Code {
	case 401, 407:
		c.fail(at, "write 486", "%d would ask the provider for a password", s.Code)
	case 408, 487:
		c.fail(at, "write 486", "%d would say that something else has happened", s.Code)
	case 503:
		c.warn(at, "486 concerns one call", "on a 503 many providers send nothing at all for a while")
	case 600, 603:
		c.warn(at, "486 concerns one call", "on a %d the provider tries no other way for the call", s.Code)
	}
	if s.Calls > 0 && s.CallsPerSecond > s.Calls {
		c.warn(path+".calls_per_second", "lower it, or leave it out", "it is never reached: there is room for %d calls", s.Calls)
	}
}
