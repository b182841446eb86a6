package config

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"sallyport/nat"
)

// checker judges a decoded document as a whole. Every method goes on after an error.
type checker struct {
	doc    *Document
	from   *origin
	report *Report
	before []string // paths of the errors found in decoding
	disk   disk
}

func validate(doc *Document, from *origin, report *Report, with disk) {
	c := &checker{doc: doc, from: from, report: report, disk: with}
	for _, p := range report.Errors {
		c.before = append(c.before, p.Path)
	}
	c.sides()
	c.interfaces()
	c.media()
	c.tls()
	c.pbx()
	c.phones()
	c.srtp()
	c.trunks()
	c.routes()
	c.capacities()
	c.policy()
	c.files()
	c.adminHTTP()
	if report.OK() {
		c.internals()
		c.rooms()
	}
}

// fail says what is wrong, unless the same value could not even be read: that has been said.
func (c *checker) fail(path, hint, format string, args ...any) {
	if !c.unread(path) {
		c.report.fail(c.from.problem(path, fmt.Sprintf(format, args...), hint))
	}
}

func (c *checker) unread(path string) bool {
	return slices.ContainsFunc(c.before, func(p string) bool { return within(p, path) || within(path, p) })
}

func (c *checker) warn(path, hint, format string, args ...any) {
	if !c.unread(path) {
		c.report.warn(c.from.problem(path, fmt.Sprintf(format, args...), hint))
	}
}

// sides checks the addresses of both doors.
func (c *checker) sides() {
	out, in := &c.doc.Outside, &c.doc.Inside
	if len(out.Address) == 0 {
		c.fail("outside.address", "write outside: { address: 203.0.113.10 } with this machine's address towards the Internet, or --outside",
			"missing")
	}
	if len(in.Address) == 0 {
		c.fail("inside.address", "write inside: { address: 10.0.0.2 } with this machine's address towards the PBX, or --inside", "missing")
	}
	c.bound("outside.address", out.Address, out.Address)
	c.bound("inside.address", in.Address, in.Address)
	c.external("outside.external_address", out.ExternalAddress, out.Address)
	for _, l := range out.realms() {
		path := "outside." + l.realm.String()
		c.listener(path, l.ports, len(l.address)+len(l.external))
		c.bound(path+".address", l.address, out.Address)
		c.external(path+".external_address", l.external, either(l.address, out.Address))
	}
	c.sharing(out.Address, in.Address)
	c.listener("inside.phones", in.Phones.ports(), len(in.Phones.Address))
	c.listener("inside.trunks", in.Trunks.ports(), len(in.Trunks.Address))
	c.bound("inside.phones.address", in.Phones.Address, in.Address)
	c.bound("inside.trunks.address", in.Trunks.Address, in.Address)
	for i, r := range c.doc.InternalRanges {
		if r.IsAny() {
			c.fail(index("internal_ranges", i), "name your own networks", "any would make every address internal")
			continue
		}
		for _, p := range r.Prefixes() {
			if err := nat.CheckRange(p); err != nil {
				c.fail(index("internal_ranges", i), "name your own networks", "%s", err)
			}
		}
	}
	c.private()
}

func either[T ~[]E, E any](own, whole T) T {
	if len(own) > 0 {
		return own
	}
	return whole
}

// listener refuses a map that names addresses and opens nothing there.
func (c *checker) listener(path string, ports Ports, addresses int) {
	if ports == (Ports{}) && addresses > 0 {
		c.fail(path, "add udp: 5060, or another transport and port; a map lists exactly what is open", "names an address but no port")
	}
}

// bound checks addresses that sockets are opened on; side are those of the whole side, by which media is relayed.
func (c *checker) bound(path string, list, side Addrs) {
	for i, a := range list {
		at := index(path, i)
		switch {
		case !a.IsValid():
			c.fail(at, "write an IP address", "the address is empty")
		case len(side) == 0: // said already
		case a.IsUnspecified():
			c.fail(at, "write the one address that peers reach; another family gets an entry of its own",
				"%s is a wildcard: what peers are told and media ports need one concrete address", a)
		case a.IsMulticast() || a.IsLinkLocalUnicast() || a == broadcast:
			c.fail(at, "write an address of one of this machine's network cards", "%s cannot be bound for calls", a)
		case !hasFamily(side, a.Addr):
			// Its peers would be told a media address that nobody listens on: silent audio.
			c.fail(at, "give the side an address of that family as well: media is relayed by those of the side",
				"the side has no address of the family of %s", a)
		}
	}
	c.onePerFamily(path, list)
}

var broadcast = Addr{netip.AddrFrom4([4]byte{255, 255, 255, 255})}

func (c *checker) onePerFamily(path string, list Addrs) {
	var seen [2]bool
	for i, a := range list {
		if !a.IsValid() {
			continue
		}
		family := 0
		if a.Is6() {
			family = 1
		}
		if seen[family] {
			c.fail(index(path, i), "keep one; a further network is a second instance", "%s is a second address of its family", a)
		}
		seen[family] = true
	}
}

// external checks what peers are told.
func (c *checker) external(path string, list Publics, bound Addrs) {
	var literal Addrs
	named := ""
	for i, p := range list {
		at, a := index(path, i), p.Addr
		if literal = append(literal, a); p.Name != "" {
			if named != "" {
				c.fail(at, "keep one; a name may have an address of each family", "%s is a second name, beside %s", p.Name, named)
			}
			named = p.Name
			continue
		}
		switch {
		case !a.IsValid():
			c.fail(at, "write an IP address", "the address is empty")
		case a.IsUnspecified() || a.IsMulticast() || a.IsLinkLocalUnicast() || a == broadcast:
			c.fail(at, "write the public address of the NAT in front of us", "nobody can reach us at %s", a)
		case len(bound) > 0 && !hasFamily(bound, a.Addr):
			c.fail(at, "give outside.address an address of that family, or remove this one", "no bound address has the family of %s", a)
		case isPrivate(a.Addr):
			c.warn(at, "right only where the peers are in that network", "%s is a private address", a)
		}
	}
	c.onePerFamily(path, literal)
}

func hasFamily(list Addrs, like netip.Addr) bool {
	_, ok := list.Of(like)
	return ok
}

var sharedSpace = netip.MustParsePrefix("100.64.0.0/10") // RFC 6598

func isPrivate(a netip.Addr) bool { return a.IsPrivate() || sharedSpace.Contains(a) }

// sharing refuses sides that have one address in common and another one each: their media ports are one pool, which is bound
// once in each family.
func (c *checker) sharing(out, in Addrs) {
	if !slices.ContainsFunc(out, func(a Addr) bool { return a.IsValid() && slices.Contains(in, a) }) {
		return
	}
	for i, a := range in {
		if other, ok := out.Of(a.Addr); ok && a.IsValid() && other != a.Addr {
			c.fail(index("inside.address", i), "share both addresses or none", "the sides share an address of one family, and have %s and %s in the other", other, a)
		}
	}
}

// private warns of a private address outside that nobody translates, unless all providers are in private networks too.
func (c *checker) private() {
	out := &c.doc.Outside
	public := func(p PeerEntry) bool {
		return !p.Address.Name.IsZero() || p.Address.IsValid() && !isPrivate(p.Address.Addr())
	}
	reached := func(t TrunkEntry) bool { return slices.ContainsFunc(t.Peers, public) }
	if len(c.doc.Trunks) > 0 && !slices.ContainsFunc(c.doc.Trunks, reached) {
		return
	}
	for i, a := range out.Address {
		if e, name := out.ExternalAddress.Of(a.Addr); a.IsValid() && isPrivate(a.Addr) && !e.IsValid() && name == "" {
			hint := "set outside.external_address (or --external) to the public address of the NAT"
			if in := slices.IndexFunc(c.doc.Inside.Address, func(b Addr) bool { return b.IsValid() && !isPrivate(b.Addr) && !b.IsLoopback() }); in >= 0 {
				hint = "have outside and inside been swapped? " + c.doc.Inside.Address[in].String() + " inside is a public address; if not, " + hint
			}
			c.warn(index("outside.address", i), hint,
				"%s is private and no external_address is set: providers and phones would be told an address that they cannot reach", a)
		}
	}
}

// interfaces checks that every listener can have its socket.
func (c *checker) interfaces() {
	list := listeners(c.doc)
	for i, a := range list {
		for _, b := range list[:i] {
			if a.clashes(&b) {
				c.fail(a.path, "give one of the two another port", "listens on %s, as %s does", a.bind, b.path)
			}
		}
		if a.transport == nat.UDP && c.doc.Media.Ports.Contains(a.bind.Port()) {
			c.fail(a.path, "move the listener or media.ports", "port %d lies within media.ports %s", a.bind.Port(), c.doc.Media.Ports)
		}
	}
}

func (c *checker) media() {
	m := &c.doc.Media
	calls, need := m.Ports.Pairs(), "an even port and the next one, such as 30000-30001"
	if slices.ContainsFunc(c.doc.Outside.Address, func(a Addr) bool { return slices.Contains(c.doc.Inside.Address, a) }) {
		calls, need = calls/2, "two pairs, such as 30000-30003, since both sides share one address"
	}
	switch {
	case m.Ports.First < 1024:
		c.fail("media.ports", "start at 1024 or above, such as 30000-31000", "%s holds privileged ports", m.Ports)
	case calls == 0:
		c.fail("media.ports", "write at least "+need, "%s has no room for a call", m.Ports)
	case calls < 10:
		c.warn("media.ports", "a call takes a pair of ports on each side, more with video or fax", "%s has room for %d calls only",
			m.Ports, calls)
	}
	if m.HoldTimeout != 0 && m.HoldTimeout < m.Timeout {
		c.warn("media.hold_timeout", "make it longer than media.timeout, or 0 for never",
			"%s is shorter than media.timeout: a held call would end before a silent one", m.HoldTimeout)
	}
}

// files checks paths and the log of security lines.
func (c *checker) files() {
	for _, f := range []struct{ path, value string }{
		{"cdr.directory", c.doc.CDR.Directory}, {"state.directory", c.doc.State.Directory},
		{"policy.capture.directory", c.doc.Policy.Capture.Directory},
	} {
		if f.value == "" {
			c.fail(f.path, "write a directory such as /var/lib/sbc", "empty")
		}
		c.absolute(f.path, f.value)
	}
	c.absolute("log.security_file", c.doc.Log.SecurityFile)
	c.within("log.security_size", c.doc.Log.SecuritySize, smallestLog, largestLog, "0 to let it grow")
	c.absolute("admin.socket", c.doc.Admin.Socket)
	// The kernel holds 108 bytes for the path of a socket, one of them for the end (unix(7)).
	if n := len(c.doc.Admin.Socket); n > 107 {
		c.fail("admin.socket", "choose a shorter path", "the path has %d bytes, a socket's may have 107", n)
	}
}

// Bounds of the file of security lines: a smaller one would be all beginnings.
const (
	smallestLog = Size(64 << 10)
	largestLog  = Size(1 << 40)
)

func (c *checker) absolute(path, value string) {
	if value != "" && !strings.HasPrefix(value, "/") {
		c.fail(path, "write the whole path, from /", "%q is not an absolute path", value)
	}
}

var (
	tokenRE  = regexp.MustCompile(`^[A-Za-z0-9.!%*_+~'-]{1,32}$`) // RFC 3261 §25.1 token, less the back-quote
	domainRE = hostNameRE
	nameRE   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
)

// words refuses repeated words of a list and, where must is set, an empty one.
func (c *checker) words(path string, list []string, must bool) {
	if must && len(list) == 0 {
		c.fail(path, "leave the key out for all", "an empty list would never count")
	}
	for i, w := range list {
		if slices.Contains(list[:i], w) {
			c.fail(index(path, i), "remove it", "%q stands here twice", w)
		}
	}
}
