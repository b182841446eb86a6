package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"sallyport/nat"
)

// What internal_ranges say of the peers: those inside belong there, since the network around them is reached and guarded by it, and a
// provider who lies there is told our bound addresses.

// internals compares internal_ranges with the addresses on both sides, which have been found to be right by themselves.
func (c *checker) internals() {
	c.uncovered()
	for i := range c.doc.Trunks {
		c.internalTrunk(index("trunks", i), &c.doc.Trunks[i])
	}
}

// uncovered tells of addresses inside that lie in none of internal_ranges. Nodes are known by themselves, whatever lies around them; but
// within dialogs nothing else there is reached, and outside nobody is kept from naming what is there. It is doubtful where somebody
// wrote ranges, and worth knowing where the shipped ones, which are of private IPv4, do not fit.
func (c *checker) uncovered() {
	var who, nets []string
	public := false
	add := func(key string, a netip.Addr) {
		if !a.IsValid() || a.IsLoopback() || c.doc.InternalRanges.Contains(a) {
			return
		}
		who = append(who, fmt.Sprintf("%s (%s)", a, key))
		public = public || !nat.Private(a)
		if net := around(a).String(); !slices.Contains(nets, net) {
			nets = append(nets, net)
		}
	}
	seen := map[netip.Addr]bool{}
	for _, l := range listeners(c.doc) {
		if a := l.bind.Addr(); l.side == nat.Inside && !seen[a] {
			seen[a] = true
			add("inside.address", a)
		}
	}
	for i, n := range c.doc.PBX.Nodes {
		if n.Address.IsValid() {
			add(index("pbx.nodes", i), n.Address.Addr())
		}
	}
	if len(who) == 0 {
		return
	}
	verb := "lie"
	if len(who) == 1 {
		verb = "lies"
	}
	what := fmt.Sprintf("%s %s in none of them: within dialogs only the nodes themselves and pbx.sources are reached inside", few(who), verb)
	if public {
		what += ", and SDP and names of providers that point there are believed"
	}
	hint := "add the network inside, such as " + few(nets)
	if c.from.given("internal_ranges") && len(c.doc.InternalRanges) > 0 {
		c.warn("internal_ranges", hint, "%s", what)
		return
	}
	c.report.note(c.from.problem("internal_ranges", what, hint))
}

// fewMost bounds the addresses that one finding names.
const fewMost = 4

func few(list []string) string {
	if len(list) > fewMost {
		list = append(list[:fewMost-1:fewMost-1], fmt.Sprintf("%d more", len(list)-fewMost+1))
	}
	return strings.Join(list, ", ")
}

// around is the network that an address is likely to be in.
func around(a netip.Addr) netip.Prefix {
	if a.Is4() {
		return netip.PrefixFrom(a, 24).Masked()
	}
	return netip.PrefixFrom(a, 64).Masked()
}

// internalTrunk tells of a provider's addresses in internal_ranges: they are told the bound address, in SDP above all, where a NAT would
// have to be passed. That is right on a line of the provider's own, and one-way audio elsewhere. Where both addresses are the same it
// changes nothing.
func (c *checker) internalTrunk(path string, t *TrunkEntry) {
	for j, p := range t.places() {
		at := index(path+".peers", j) + ".address"
		if len(t.Peers) == 0 {
			at = path + ".registration.registrar"
		}
		a := p.Address.Addr()
		if !p.Address.Name.IsZero() || !p.Address.IsValid() || a.IsLoopback() || !c.doc.InternalRanges.Contains(a) {
			continue
		}
		bound, told := c.told(a)
		what := fmt.Sprintf("%s lies in internal_ranges: it is told our bound address %s, also in SDP, and not ", p.Address, bound)
		switch own := &t.ExternalAddress; {
		case !own.IsZero() && (own.IsValid() && own.Is4() == a.Is4() && own.Addr.Addr != bound || own.Name != ""):
			c.warn(path+".external_address", "narrow internal_ranges, or remove this external_address: with no NAT in between it is not wanted",
				"%sthis external_address", what)
		case told == "" || told == bound.String():
		case !nat.Private(a):
			c.warn(at, "narrow internal_ranges to networks that no NAT separates from us", "%s%s", what, told)
		default:
			c.report.note(c.from.problem(at, what+told,
				"right on a line of the provider's own, with no NAT in between; else narrow internal_ranges"))
		}
		return // one finding for a trunk
	}
}

// told is by which address outside.trunks is bound for a peer, and which one, or which name, those beyond a NAT are told.
func (c *checker) told(peer netip.Addr) (bound netip.Addr, told string) {
	for _, l := range listeners(c.doc) {
		if l.side != nat.Outside || l.realm != nat.Trunks || l.bind.Addr().Is4() != peer.Is4() {
			continue
		}
		if l.told != "" {
			return l.bind.Addr(), l.told
		}
		return l.bind.Addr(), l.advertised.Addr().String()
	}
	return bound, ""
}
