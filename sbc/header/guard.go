package header

import (
	"net/netip"
	"slices"
	"strings"

	"sallyport/nat"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// Guard is the last look at a message before it leaves a side: nothing in it may show an address, host or id of the
// other side. It never changes; a reload makes another one.
//
// Forbidden on a side are our own addresses of the other side, the hosts and addresses of the peers of the other side,
// and what the other leg of the call brought. A host that belongs to both sides (one address for both, everything on
// loopback) is no leak, and neither is what was named as allowed.
//
// Not looked at is what this side itself sent and gets back: Via, From, To and Record-Route of a response, Contact of one
// to a REGISTER; Route, and
// within a dialog the Request-URI and the hosts of From and To, of a request. Two phones behind two NATs may well have the same private address.
// Credentials and challenges are not looked at either: a digest covers them.
type Guard struct {
	forbidden [2]hostSet // by the side that is left
	exempt    [2]hostSet
	own       [2]netip.Addr // stands in for what leaked
	text      [2]string     // the same as URIs write it, IPv6 in brackets
	names     bool          // some forbidden host is a name
}

// hostSet holds addresses by value and names in lower case.
type hostSet struct {
	addrs map[netip.Addr]struct{}
	names map[string]struct{}
}

func newHostSet() hostSet {
	return hostSet{addrs: map[netip.Addr]struct{}{}, names: map[string]struct{}{}}
}

// NewGuard makes a guard. ours are our addresses of each side, bound and advertised, for signalling and media; the
// first one of a side (the advertised one) stands in for what leaked there. peers are the hosts and addresses of trunks (outside) and PBX
// nodes (inside), with or without port, or ranges of one address. allowed are hosts that may be shown on either side:
// pbx.domain.
func NewGuard(ours [2][]netip.Addr, peers [2][]string, allowed ...string) *Guard {
	g := &Guard{}
	for side := range g.forbidden {
		g.forbidden[side], g.exempt[side] = newHostSet(), newHostSet()
	}
	for side := range ours {
		for _, a := range ours[side] {
			g.know(side, a.String())
			if !g.own[side].IsValid() && a.IsValid() && !a.IsUnspecified() {
				g.own[side] = a.Unmap().WithZone("")
			}
		}
		for _, h := range peers[side] {
			g.know(side, h)
		}
		for _, h := range allowed {
			g.exempt[side].add(h)
		}
		if g.text[side] = g.own[side].String(); g.own[side].Is6() {
			g.text[side] = "[" + g.text[side] + "]"
		}
	}
	for side := range g.forbidden {
		g.forbidden[side].subtract(g.exempt[side])
		g.names = g.names || len(g.forbidden[side].names) > 0
	}
	return g
}

// know notes that a host belongs to a side.
func (g *Guard) know(side int, host string) {
	g.exempt[side].add(host)
	g.forbidden[1-side].add(host)
}

// add notes host, host:port, or a range of one address; wider ranges are no hosts.
func (s hostSet) add(host string) {
	if strings.IndexByte(host, '/') >= 0 {
		if p, err := netip.ParsePrefix(host); err == nil && p.IsSingleIP() {
			s.addrs[p.Addr().Unmap()] = struct{}{}
		}
		return
	}
	name, _ := splitHost(host)
	if a, err := netip.ParseAddr(name); err == nil {
		if a = a.Unmap().WithZone(""); !a.IsUnspecified() {
			s.addrs[a] = struct{}{}
		}
	} else if name = strings.TrimSuffix(strings.ToLower(name), "."); name != "" {
		s.names[name] = struct{}{}
	}
}

func (s hostSet) subtract(o hostSet) {
	for a := range o.addrs {
		delete(s.addrs, a)
	}
	for n := range o.names {
		delete(s.names, n)
	}
}

// Check looks a message over that leaves a side, and repairs it in place: our own address of that side stands where a
// forbidden host stood, a candidate that names one is taken out, a field that shows an id of the other leg, or a host in what is signed, is
// dropped.
// brought may be nil. It returns the number of hits, and false if something cannot be repaired: a Call-ID, tag or
// branch of the other leg, or a side without an address. What it changed stays changed, whatever it returns.
func (g *Guard) Check(leaving nat.Side, m *message.Message, brought *tu.Secrets) (hits int, repaired bool) {
	if brought == nil {
		brought = &noSecrets
	}
	c := check{g: g, side: leaving, brought: brought, names: g.names || len(brought.Hosts) > 0}
	fresh := m.IsRequest() && m.To.Tag == ""
	if m.IsRequest() {
		for i := range m.Via {
			c.via(&m.Via[i])
		}
		c.ours(m.From.Tag)
	} else {
		c.ours(m.To.Tag)
		m.Reason = inspect(&c, m.Reason)
	}
	switch {
	case fresh:
		c.uri(&m.URI)
		c.nameAddr(&m.From)
		c.nameAddr(&m.To)
		c.ours(m.CallID)
	case m.IsRequest(): // a dialog keeps the names it was opened with, not what was repaired in them then
		c.words(&m.From)
		c.words(&m.To)
	}
	if !fresh {
		c.id(m.CallID)
	}
	c.headers(m)
	c.body(m)
	return c.hits, !c.stuck
}

var noSecrets tu.Secrets

// check is one look.
type check struct {
	g       *Guard
	side    nat.Side
	brought *tu.Secrets
	names   bool // names can leak at all
	hits    int
	stuck   bool // something cannot be repaired

	literals [tu.SecretsMost]netip.Addr // of the hosts that were brought; invalid: a name
	read     bool                       // they are known by now
}

// addr reports whether an address leaks, or shows one that does.
func (c *check) addr(a netip.Addr) bool {
	if a = a.Unmap().WithZone(""); a == c.g.own[c.side] { // the one that stands everywhere
		return false
	}
	return c.shown(a) || a.Is6() && assigned(a) && c.embedded(a)
}

// shown reports whether an address itself leaks.
func (c *check) shown(a netip.Addr) bool {
	if _, bad := c.g.forbidden[c.side].addrs[a]; bad {
		return true
	}
	return c.broughtAddr(a) && !c.g.exempts(c.side, a)
}

func (c *check) broughtAddr(a netip.Addr) bool {
	if a.IsUnspecified() {
		return false
	}
	for _, b := range c.brought.Addrs {
		if b.Unmap() == a {
			return true
		}
	}
	hosts := c.brought.Hosts
	if !c.read {
		c.read = true
		for i, h := range hosts[:min(len(hosts), len(c.literals))] {
			if b, ok := literal(h); ok {
				c.literals[i] = b.Unmap()
			}
		}
	}
	return slices.Contains(c.literals[:min(len(hosts), len(c.literals))], a)
}

func (g *Guard) exempts(side nat.Side, a netip.Addr) bool {
	_, ok := g.exempt[side].addrs[a]
	return ok
}

// name reports whether a host name leaks.
func (c *check) name(h string) bool {
	if !c.names || len(h) > 253 {
		return false
	}
	var buf [256]byte
	h = strings.TrimSuffix(h, ".")
	low := appendLower(buf[:0], h)
	if _, bad := c.g.forbidden[c.side].names[string(low)]; bad {
		return true
	}
	for _, b := range c.brought.Hosts {
		if strings.EqualFold(strings.TrimSuffix(b, "."), h) {
			_, ok := c.g.exempt[c.side].names[string(low)]
			return !ok
		}
	}
	return false
}

// host reports whether a host leaks, be it a name or an address without brackets.
func host[T text](c *check, h T) bool {
	if a, ok := literal(h); ok {
		return c.addr(a)
	}
	if a, numeric := hostNumber(h); numeric {
		return a.IsValid() && c.addr(a)
	}
	return c.names && c.name(string(h))
}

// replace counts a leak and tells whether there is something to put in its place.
func (c *check) replace() bool {
	c.hits++
	if !c.g.own[c.side].IsValid() {
		c.stuck = true
		return false
	}
	return true
}

// field repairs a field that holds a host and nothing else, without brackets.
func (c *check) field(h *string) {
	if *h != "" && host(c, *h) && c.replace() {
		*h = c.g.own[c.side].String()
	}
}

func (c *check) via(v *message.Via) {
	c.field(&v.Host)
	c.field(&v.Received)
	v.Params = inspect(c, v.Params)
	c.ours(v.Branch)
}

func (c *check) uri(u *message.URI) {
	c.field(&u.Host)
	u.User = inspect(c, u.User)
	u.Params = inspect(c, u.Params)
	u.Headers = inspect(c, u.Headers)
}

func (c *check) nameAddr(n *message.NameAddr) {
	n.Display = inspect(c, n.Display)
	c.uri(&n.URI)
	n.Params = inspect(c, n.Params)
}

// words looks at a name-addr without its host.
func (c *check) words(n *message.NameAddr) {
	n.Display = inspect(c, n.Display)
	n.URI.User = inspect(c, n.URI.User)
}

// headers looks at the untyped fields.
func (c *check) headers(m *message.Message) {
	drop := false
	for i := range m.Headers {
		h := &m.Headers[i]
		switch h.Name {
		case "Authorization", "Proxy-Authorization", "WWW-Authenticate", "Proxy-Authenticate", "Authentication-Info",
			"Proxy-Authentication-Info", "Route", "Content-Type": // of the last see contentType
			continue
		case "Allow", "Supported", "Require": // words of our own lists
			continue
		case "Record-Route":
			if !m.IsRequest() {
				continue
			}
		case "Contact":
			if !m.IsRequest() && m.Method == "REGISTER" {
				continue // a phone's own bindings as it wrote them (RFC 3261 §10.3)
			}
		}
		if c.showsID(h) || c.showsWhole(h) {
			c.hits++
			h.Name, drop = "", true
			continue
		}
		h.Value = inspect(c, h.Value)
	}
	if drop {
		m.Headers = slices.DeleteFunc(m.Headers, func(h message.Header) bool { return h.Name == "" })
	}
}
