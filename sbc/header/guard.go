package header

import (
	"net/netip"
	"slices"
	"strings"

	"sallyport/media/sdp"
	"sallyport/nat"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
	"sallyport/sbc/userpart"
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
	v6        bool          // some forbidden host is an IPv6 address
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
		for a := range g.forbidden[side].addrs {
			g.v6 = g.v6 || a.Is6()
		}
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
// forbidden host stood, a candidate that names one is taken out, a field that shows an id of the other leg is dropped.
// brought may be nil. It returns the number of hits, and false if something cannot be repaired: a Call-ID, tag or
// branch of the other leg, or a side without an address. What it changed stays changed, whatever it returns.
func (g *Guard) Check(leaving nat.Side, m *message.Message, brought *tu.Secrets) (hits int, repaired bool) {
	if brought == nil {
		brought = &noSecrets
	}
	c := check{g: g, side: leaving, brought: brought, names: g.names || len(brought.Hosts) > 0, v6: g.v6 || anyV6(brought)}
	fresh := m.IsRequest() && m.To.Tag == ""
	if m.IsRequest() {
		for i := range m.Via {
			c.via(&m.Via[i])
		}
		c.id(m.From.Tag)
	} else {
		c.id(m.To.Tag)
		m.Reason = c.scan(m.Reason)
	}
	switch {
	case fresh:
		c.uri(&m.URI)
		c.nameAddr(&m.From)
		c.nameAddr(&m.To)
		c.callID(m.CallID)
	case m.IsRequest(): // a dialog keeps the names it was opened with, not what was repaired in them then
		c.words(&m.From)
		c.words(&m.To)
	}
	c.id(m.CallID)
	c.headers(m)
	c.body(m)
	return c.hits, !c.stuck
}

var noSecrets tu.Secrets

func anyV6(s *tu.Secrets) bool {
	return slices.ContainsFunc(s.Addrs, netip.Addr.Is6) ||
		slices.ContainsFunc(s.Hosts, func(h string) bool { return strings.IndexByte(h, ':') >= 0 })
}

// check is one look.
type check struct {
	g       *Guard
	side    nat.Side
	brought *tu.Secrets
	names   bool // names can leak at all
	v6      bool // IPv6 addresses can leak at all
	hits    int
	stuck   bool // something cannot be repaired
}

// addr reports whether an address leaks.
func (c *check) addr(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if _, bad := c.g.forbidden[c.side].addrs[a]; bad {
		return true
	}
	return c.broughtAddr(a) && !c.g.exempts(c.side, a)
}

func (c *check) broughtAddr(a netip.Addr) bool {
	for _, b := range c.brought.Addrs {
		if b.Unmap() == a {
			return !a.IsUnspecified()
		}
	}
	return false
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
	low := appendLower(buf[:0], strings.TrimSuffix(h, "."))
	if _, bad := c.g.forbidden[c.side].names[string(low)]; bad {
		return true
	}
	for _, b := range c.brought.Hosts {
		if strings.EqualFold(b, h) {
			_, ok := c.g.exempt[c.side].names[string(low)]
			return !ok
		}
	}
	return false
}

// host reports whether a host leaks, be it a name or an address without brackets.
func (c *check) host(h string) bool {
	if isIPv4(h) || strings.IndexByte(h, ':') >= 0 {
		if a, err := netip.ParseAddr(h); err == nil {
			return c.addr(a) || c.broughtText(h, a)
		}
	}
	return c.name(h)
}

// broughtText looks for an address among the hosts that were brought as text.
func (c *check) broughtText(h string, a netip.Addr) bool {
	return slices.ContainsFunc(c.brought.Hosts, func(b string) bool { return strings.EqualFold(b, h) }) &&
		!a.IsUnspecified() && !c.g.exempts(c.side, a.Unmap())
}

// id counts an id of the other leg; there is no other to put in its place.
func (c *check) id(id string) {
	if id != "" && slices.Contains(c.brought.IDs, id) {
		c.hits++
		c.stuck = true
	}
}

// callID looks at the host that many Call-IDs end in; ours never do.
func (c *check) callID(id string) {
	if i := strings.LastIndexByte(id, '@'); i >= 0 && c.host(strings.Trim(id[i+1:], "[]")) {
		c.hits++
		c.stuck = true
	}
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
	if *h != "" && c.host(*h) && c.replace() {
		*h = c.g.own[c.side].String()
	}
}

func (c *check) via(v *message.Via) {
	c.field(&v.Host)
	c.field(&v.Received)
	v.Params = c.scan(v.Params)
	c.id(v.Branch)
}

func (c *check) uri(u *message.URI) {
	c.field(&u.Host)
	u.User = c.scan(u.User)
	u.Params = c.scan(u.Params)
	u.Headers = c.scan(u.Headers)
}

func (c *check) nameAddr(n *message.NameAddr) {
	n.Display = c.scan(n.Display)
	c.uri(&n.URI)
	n.Params = c.scan(n.Params)
}

// words looks at a name-addr without its host.
func (c *check) words(n *message.NameAddr) {
	n.Display = c.scan(n.Display)
	n.URI.User = c.scan(n.URI.User)
}

// headers looks at the untyped fields.
func (c *check) headers(m *message.Message) {
	drop := false
	for i := range m.Headers {
		h := &m.Headers[i]
		switch h.Name {
		case "Authorization", "Proxy-Authorization", "WWW-Authenticate", "Proxy-Authenticate", "Authentication-Info",
			"Proxy-Authentication-Info", "Route", "Content-Type":
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
		if c.showsID(h) {
			c.hits++
			h.Name, drop = "", true
			continue
		}
		h.Value = c.scan(h.Value)
	}
	if drop {
		m.Headers = slices.DeleteFunc(m.Headers, func(h message.Header) bool { return h.Name == "" })
	}
}

// showsID reports whether a field that may name a dialog holds an id of the other leg.
func (c *check) showsID(h *message.Header) bool {
	if len(c.brought.IDs) == 0 {
		return false
	}
	shows, value, plain := strings.Contains, h.Value, ""
	switch h.Name {
	case "Replaces", "Join", "Target-Dialog", "In-Reply-To", "Refer-To":
		// They are made of ids, of which one may well begin as another one does.
		// In a URI they are escaped; elsewhere a "%" is one (RFC 3261 §25.1, word).
		shows, plain = holdsWord, userpart.Plain(value)
	case "Referred-By", "Call-Info", "Session-Id":
	default:
		if !strings.HasPrefix(h.Name, "X-") && !strings.HasPrefix(h.Name, "P-") {
			return false
		}
	}
	return slices.ContainsFunc(c.brought.IDs, func(id string) bool { return len(id) >= 6 && (shows(value, id) || shows(plain, id)) })
}

// holdsWord reports whether a value holds an id that is not merely a part of a longer one.
func holdsWord(value, id string) bool {
	for at := 0; ; {
		i := strings.Index(value[at:], id)
		if i < 0 {
			return false
		}
		i += at
		end := i + len(id)
		if (i == 0 || !inID(value[i-1])) && (end == len(value) || !inID(value[end])) {
			return true
		}
		at = i + 1
	}
}

// inID reports whether a byte goes on a tag or a Call-ID. Of what both may have these are the ones that do not divide anything in
// a field that names dialogs.
func inID(b byte) bool {
	return b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || strings.IndexByte("-.!%*_+`'~", b) >= 0
}

// body looks at the session descriptions in the body.
func (c *check) body(m *message.Message) {
	if len(m.Body) == 0 {
		return
	}
	kind, _ := m.Get("Content-Type")
	shift := 0
	out := m.Body
	for start, end := range sdp.Parts(kind, m.Body) {
		part, n := sdp.Replace(m.Body[start:end], c.sdpHost, c.g.own[c.side])
		if n == 0 {
			continue
		}
		c.hits += n
		if !c.g.own[c.side].IsValid() {
			c.stuck = true
			return
		}
		out = slices.Concat(out[:start+shift], part, out[end+shift:])
		shift += len(part) - (end - start)
	}
	m.Body = out
	c.documents(kind, m)
}

func (c *check) sdpHost(h []byte) bool { return c.host(string(h)) }
