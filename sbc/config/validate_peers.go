package config

import (
	"net/netip"
	"slices"
	"time"

	"sallyport/nat"
)

// shortestProbe keeps probes from becoming a flood of their own.
const shortestProbe = Duration(time.Second)

func (c *checker) pbx() {
	p := &c.doc.PBX
	switch {
	case p.Domain == "":
		c.fail("pbx.domain", "write pbx: { domain: example.com } with the SIP domain that the PBX serves, or --domain", "missing")
	case isLiteral(p.Domain):
		c.warn("pbx.domain", "give the PBX a domain name",
			"%s is an address: it would be shown outside wherever the domain may be", p.Domain)
	case len(p.Domain) > 253 || !domainRE.MatchString(p.Domain):
		c.fail("pbx.domain", "write a domain such as example.com", "%q is not a domain", p.Domain)
	}
	if len(p.Nodes) == 0 {
		c.fail("pbx.nodes", `write pbx: { nodes: [ { address: "10.0.0.10:5060" } ] } with the PBX's address, or --pbx`, "no PBX")
	}
	for i, n := range p.Nodes {
		at := index("pbx.nodes", i)
		if !c.target(at+".address", n.Address) {
			continue
		}
		c.words(at+".realms", n.Realms, true)
		for _, realm := range n.Realms {
			c.reachable(at, nat.Inside, realm, n.Transport, n.Address)
		}
		for _, other := range p.Nodes[:i] {
			if other.Address.same(n.Address) {
				c.fail(at+".address", "keep one of the two", "%s is named twice", n.Address)
			}
		}
	}
	c.noAny("pbx.sources", p.Sources, "anyone could call out")
	c.credentials("pbx.credentials", &p.Credentials, p.Domain)
	c.probe("pbx.health.interval", p.Health.Interval)
	c.attempt("pbx.attempt_timeout", p.AttemptTimeout)
	c.sessions("pbx.session_timer", p.SessionTimer)
	c.pbxLimits()
}

func isLiteral(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}

// target checks the address of a peer system.
func (c *checker) target(path string, e Endpoint) bool {
	switch {
	case !e.Name.IsZero():
		return true
	case !e.IsValid():
		c.fail(path, `write address: "192.0.2.20:5060", or a name`, "missing")
		return false
	case e.Addr().IsUnspecified() || e.Addr().IsMulticast() || e.Addr() == broadcast.Addr:
		c.fail(path, "write the address of one machine", "%s is not the address of a machine", e.Addr())
		return false
	}
	for _, l := range listeners(c.doc) {
		if l.bind == e.AddrPort {
			c.fail(path, "write the peer's address, not ours", "%s is our own %s", e, l.path)
			return false
		}
	}
	return true
}

// reachable checks that a realm has a listener of the peer's family and transport: requests to the peer leave by it, or
// from its address, and our Contact names it.
func (c *checker) reachable(path string, side nat.Side, realm, transport string, e Endpoint) {
	peer, named := e.Addr(), !e.Name.IsZero()
	family := "IPv4"
	if peer.Is6() {
		family = "IPv6"
	}
	at := ".address"
	for _, l := range listeners(c.doc) {
		if l.side != side || l.realm.String() != realm || !named && l.bind.Addr().Is4() != peer.Is4() {
			continue
		}
		if l.transport.String() == transport || e.Name.Any {
			return
		}
		at = ".transport"
	}
	key := side.String() + "." + realm
	if !c.doc.addressed(side) || c.unread(key) || c.unread(side.String()+".address") || c.unread(path+".transport") {
		return // said already
	}
	if named {
		c.fail(path+at, "give "+key+" a "+transport+" port", "%s has no %s listener, by which %s could be reached", key, transport, e)
		return
	}
	c.fail(path+at, "give "+key+" a "+transport+" port and an "+family+" address", "%s has no %s listener with an %s address, by which %s could be reached",
		key, transport, family, peer)
}

func (c *checker) noAny(path string, list Sources, harm string) {
	for i, r := range list {
		if slices.ContainsFunc(r.Prefixes(), isFamily) {
			c.fail(index(path, i), "name the addresses", "every address of a family: %s", harm)
		}
	}
}

func isFamily(p netip.Prefix) bool { return p.Bits() == 0 }

func (c *checker) probe(path string, interval Duration) {
	if interval != 0 && interval < shortestProbe {
		c.fail(path, "write 1s or more, or 0 for no probes", "%s would flood the peer with OPTIONS", interval)
	}
}

// attempt bounds the wait for a first answer: under T1 (500 ms) no request could be repeated, over Timer B (32 s) the
// transaction ends first (RFC 3261 §17.1.1.2).
func (c *checker) attempt(path string, d Duration) {
	if d.Std() < 500*time.Millisecond || d.Std() > 32*time.Second {
		c.fail(path, "write 500ms to 32s", "%s is out of range", d)
	}
}

func (c *checker) trunks() {
	names := map[string]bool{}
	for i := range c.doc.Trunks {
		t := &c.doc.Trunks[i]
		c.trunk(index("trunks", i), t)
		if t.Name != "" && names[t.Name] {
			c.fail(index("trunks", i)+".name", "give one of the two another name", "%q is the name of another trunk", t.Name)
		}
		names[t.Name] = true
	}
	c.sharedSources()
	if len(c.doc.Trunks) == 0 && !c.doc.registrar() {
		c.warn("trunks", "add a trunk, or --trunk name=address:port", "no trunk, and no way for phones: there is nothing to connect the PBX to")
	}
}

func (c *checker) trunk(path string, t *TrunkEntry) {
	switch {
	case t.Name == "":
		c.fail(path+".name", "write name: itsp", "missing")
	case !nameRE.MatchString(t.Name):
		c.fail(path+".name", "use letters, digits, dot, dash and underscore, at most 64", "%q is not a name", t.Name)
	}
	c.registration(path, t)
	c.trunkCredentials(path, t)
	c.trunkTLS(path, t)
	if len(t.Peers) == 0 && !t.registers() {
		c.fail(path+".peers", `write peers: [ { address: "203.0.113.20:5060" } ]`, "no peer")
	}
	for j, p := range t.Peers {
		peer := index(path+".peers", j)
		at := peer + ".address"
		if !c.target(at, p.Address) {
			continue
		}
		c.reachable(peer, nat.Outside, "trunks", p.Transport, p.Address)
		if e := t.ExternalAddress; e.IsValid() && p.Address.IsValid() && e.Is4() != p.Address.Addr().Is4() {
			c.warn(at, "give the trunk one family", "%s has not the family of the trunk's external_address", p.Address)
		}
		for _, other := range t.Peers[:j] {
			if other.Address.same(p.Address) {
				c.fail(at, "keep one of the two", "%s is named twice", p.Address)
			}
		}
	}
	c.external(path+".external_address", one(t.ExternalAddress), nil)
	c.noAny(path+".sources", t.Sources, "anyone could call in as this trunk")
	c.noAny(path+".media_sources", t.MediaSources, "anyone could send audio into its calls")
	c.probe(path+".keepalive.interval", t.Keepalive.Interval)
	c.ring(path+".ring_timeout", t.RingTimeout)
	c.sessions(path+".session_timer", t.SessionTimer)
	c.longest(path+".max_call", t.MaxCall)
	c.codecs(path+".codecs", t.Codecs)
	c.headers(path+".headers", &t.Headers)
	c.numbers(path+".numbers", &t.Numbers)
	c.identity(path+".identity", &t.Identity, t.registers())
	c.codes(path+".codes", &t.Codes)
	c.manners(path, t)
	c.presets(path, t)
}

func one(a Public) Publics {
	if a.IsZero() {
		return nil
	}
	return Publics{a}
}

// owned is a range that tells a trunk.
type owned struct {
	Range
	trunk int
}

// sharedSources warns of trunks that share a source: it always counts as the first one's. In one sweep over the sorted
// ranges each is compared with the furthest-reaching ones before it, of two different trunks: if it meets any range of
// another trunk, it meets one of those. Where many trunks share one place not every pair is named. Those that something tells
// apart do not count.
func (c *checker) sharedSources() {
	said := map[int]bool{}
	for _, transport := range [...]string{"udp", "tcp", "tls"} {
		c.sharedBy(transport, said)
	}
}

func (c *checker) sharedBy(transport string, said map[int]bool) {
	var all []owned
	for i := range c.doc.Trunks {
		if t := &c.doc.Trunks[i]; t.told() || !t.speaks(transport) {
			continue
		}
		for _, r := range effectiveSources(&c.doc.Trunks[i]) {
			if r.first.IsValid() {
				all = append(all, owned{r, i})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b owned) int { return a.first.Compare(b.first) })
	var far, next *owned // far reaches furthest, next furthest among those of other trunks
	for i := range all {
		at := &all[i]
		for _, before := range [2]*owned{far, next} {
			if before != nil && before.trunk != at.trunk && before.Overlaps(at.Range) {
				c.shared(at, before, said)
			}
		}
		switch {
		case far == nil || far.last.Less(at.last):
			if far != nil && far.trunk != at.trunk {
				next = far
			}
			far = at
		case at.trunk != far.trunk && (next == nil || next.last.Less(at.last)):
			next = at
		}
	}
}

func (c *checker) shared(a, b *owned, said map[int]bool) {
	if a.trunk < b.trunk {
		a, b = b, a
	}
	if said[a.trunk] {
		return
	}
	said[a.trunk] = true
	c.warn(index("trunks", a.trunk), "write inbound: { match: '+4930555.*' } at one of the two, with the numbers that are called by it; else calls from there are "+
		"taken for the first trunk in the file",
		"source %s is one of trunk %q too", a.Range, c.doc.Trunks[b.trunk].Name)
}

// effectiveSources is who may call in: the sources, by default the peers. What names lead to comes later.
func effectiveSources(t *TrunkEntry) Ranges {
	if len(t.Sources) > 0 {
		return t.Sources.ranges()
	}
	var out Ranges
	for _, p := range t.places() {
		if p.Address.IsValid() {
			out = append(out, RangeOf(p.Address.Addr()))
		}
	}
	return out
}
