package sbc

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"sallyport/policy"
	"sallyport/sbc/api"
	"sallyport/sbc/config"
)

// A provider who calls from an address that his trunk does not have is refused like any stranger, and nobody who looks at the trunk
// would know. So the trunk tells of calls that were refused lately as nobody's, where From names the provider, or where they came from
// next to his addresses. Both may be a stranger's lie: From is whatever the caller writes, and a neighbour may be anybody's. What is told
// is therefore an address and where to look, no word of the caller's, and never that it should be let in.

// Bounds of what is told of refused calls.
const (
	refusedLately = 24 * time.Hour
	refusedMost   = 3 // addresses of a trunk
)

// newPlaces finds the trunks that refused calls may be of.
type newPlaces struct {
	names     map[string][]int       // trunks by a domain that is theirs, or is that of their host
	addresses map[netip.Addr][]int   // by an address of theirs
	networks  map[netip.Prefix][]int // by the network that such an address is likely to be in
	keys      map[netip.Addr]bool    // what evidence is kept of where a trunk is: what is its own now is no new place
}

// newNewPlaces knows trunks by what their names lead to, and by the names as they are written.
func newNewPlaces(trunks, written []config.Trunk) *newPlaces {
	p := &newPlaces{names: map[string][]int{}, addresses: map[netip.Addr][]int{}, networks: map[netip.Prefix][]int{}, keys: map[netip.Addr]bool{}}
	places := make(map[string]int, len(trunks))
	for i := range trunks {
		t := &trunks[i]
		places[t.Name] = i
		for _, s := range slices.Concat(t.Sources, targets(t)) {
			if s.IsSingleIP() {
				p.address(s.Addr(), i)
			}
		}
		peers := t.Peers
		if r := t.Registration; r != nil {
			p.name(r.Domain, i)
			peers = slices.Concat(peers, r.Targets)
		}
		for _, at := range peers {
			p.name(at.Name.Host, i)
			p.address(at.Address.Addr(), i)
		}
	}
	for i := range written { // a name that leads nowhere has no place among addresses
		if k, known := places[written[i].Name]; known {
			for _, at := range written[i].Peers {
				p.name(at.Name.Host, k)
			}
		}
	}
	return p
}

func (p *newPlaces) name(host string, trunk int) {
	if a, err := netip.ParseAddr(host); err == nil {
		p.address(a, trunk)
		return
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	for _, n := range []string{host, domainAbove(host)} {
		if n != "" {
			alsoOf(p.names, n, trunk)
		}
	}
}

func (p *newPlaces) address(a netip.Addr, trunk int) {
	if !a.IsValid() {
		return
	}
	a = a.Unmap()
	p.keys[policy.SourceKey(a)] = true
	alsoOf(p.addresses, a, trunk)
	alsoOf(p.networks, vicinityOf(a), trunk)
}

// alsoOf notes that something is of a trunk.
func alsoOf[K comparable](m map[K][]int, k K, trunk int) {
	if !slices.Contains(m[k], trunk) {
		m[k] = append(m[k], trunk)
	}
}

// domainAbove is the domain that a name is directly below; "": it is a domain of many.
func domainAbove(name string) string {
	_, rest, _ := strings.Cut(name, ".")
	if !strings.Contains(rest, ".") {
		return ""
	}
	return rest
}

// vicinityOf is the network in which a provider's other machines are likely to be.
func vicinityOf(a netip.Addr) netip.Prefix {
	if a.Is4() {
		return netip.PrefixFrom(a, 24).Masked()
	}
	return netip.PrefixFrom(a, 48).Masked()
}

// trunksOf are the trunks that a refused call may be of, and how that shows.
func (p *newPlaces) trunksOf(x *policy.TurnedAway) (named, beside []int) {
	if p.keys[policy.SourceKey(x.Source)] {
		return nil, nil
	}
	beside = p.networks[vicinityOf(x.Source)]
	if a, err := netip.ParseAddr(x.Host); err == nil {
		return p.addresses[a], beside
	}
	if !strings.Contains(x.Host, ".") {
		return nil, beside
	}
	for n := x.Host; n != ""; n = domainAbove(n) {
		if list := p.names[n]; list != nil {
			return list, beside
		}
	}
	if x.Cut {
		for n, list := range p.names {
			if strings.HasPrefix(n, x.Host) {
				named = append(named, list...)
			}
		}
	}
	return named, beside
}

// refusedCallers are the new places that trunks may call from, by trunk: first those beside its addresses whose From names it as well,
// then the latest.
func (c control) refusedCallers(trunks []config.Trunk) map[string]*api.RefusedCallers {
	turned := c.guard.TurnedAway(c.now().Add(-refusedLately))
	if len(turned) == 0 || len(trunks) == 0 {
		return nil
	}
	p, by := newNewPlaces(trunks, c.snap.Load().Trunks), make([]suspects, len(trunks))
	for i := range turned {
		x := &turned[i]
		named, beside := p.trunksOf(x)
		for _, k := range named {
			by[k].named = x
		}
		for _, k := range beside {
			by[k].take(x, by[k].named == x, true)
		}
		for _, k := range named {
			if by[k].last != x {
				by[k].take(x, true, false)
			}
		}
	}
	out := map[string]*api.RefusedCallers{}
	for k := range by {
		if s := &by[k]; s.count > 0 {
			list := slices.Concat(s.both, s.either)
			out[trunks[k].Name] = &api.RefusedCallers{Count: s.count, List: list[:min(len(list), refusedMost)]}
		}
	}
	return out
}

// suspects are the new places of one trunk. However many there are, the first few are kept.
type suspects struct {
	count        int
	both, either []api.RefusedCaller
	named, last  *policy.TurnedAway // the latest one that names the trunk, and the latest one that was taken
}

func (s *suspects) take(x *policy.TurnedAway, named, beside bool) {
	s.count++
	s.last = x
	list := &s.either
	if named && beside {
		list = &s.both
	}
	if len(*list) < refusedMost {
		*list = append(*list, api.RefusedCaller{Address: x.Source.String(), Last: x.At, Named: named, Beside: beside})
	}
}
