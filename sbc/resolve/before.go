package resolve

import (
	"cmp"
	"errors"
	"net/netip"
	"slices"
	"time"

	"sallyport/nat"
)

// Source is how a name was followed. The higher one is the more deliberate: who has NAPTR or SRV records has them on purpose.
type Source uint8

// The sources.
const (
	ByHost  Source = iota // the name's own addresses
	BySRV                 // SRV records
	ByNAPTR               // NAPTR records, and the SRV records that they name
)

// lowerAfter is how long records must be missing until a lower source is believed. A name server that has lost half of its zone,
// a middle box that does not know SRV and a resolver that was taken over all answer with nothing for days; meanwhile the address
// of a bare domain is, as a rule, its web server's.
const lowerAfter = 24 * time.Hour

// memory is what a target led to before.
type memory struct {
	endpoints []Endpoint
	by        Source
	lower     bool // a lower source is believed: it has been so for lowerAfter
	refuse    func(netip.AddrPort) string
}

// doubt notes what is not as it should be. It is asked again soon.
func (l *lookup) doubt(err error) {
	l.trouble = cmp.Or(l.trouble, err)
	l.ttl = min(l.ttl, staleTTL)
}

// refuses says why an address of an answer may not be used; nil: it may.
func (l *lookup) refuses(a netip.AddrPort) error {
	if l.before.refuse == nil {
		return nil
	}
	why := l.before.refuse(a)
	if why == "" {
		return nil
	}
	text := a.Addr().String() + " " + why
	if !slices.Contains(l.refused, text) {
		l.refused = append(l.refused, text)
	}
	l.refusal = cmp.Or(l.refusal, errors.New("every address of the answer is refused: "+text))
	return l.refusal
}

// only chooses the endpoints of a transport.
func only(t nat.Transport) func(*Endpoint) bool {
	return func(e *Endpoint) bool { return e.Transport == t }
}

// knew reports whether the target led anywhere by a transport.
func (l *lookup) knew(t nat.Transport) bool {
	return slices.ContainsFunc(l.before.endpoints, func(e Endpoint) bool { return e.Transport == t })
}

// lower reports whether records of a source are missing that the target was followed by before, and are to be waited for.
func (l *lookup) lower(s Source) bool {
	if l.before.by < s || l.before.lower || len(l.before.endpoints) == 0 {
		return false
	}
	l.lowered = true
	l.doubt(errors.New(cmp.Or(l.none, errors.New(l.t.Host+" has no usable records")).Error() +
		", where there was more before: nothing less is believed until it has been so for " + lowerAfter.String()))
	return true
}

// reviveAll is revive of whatever there was, in its order.
func (l *lookup) reviveAll() { l.revive(nil, -1) }

// revive adds the hosts that the target led to before, as if the records that name them had been answered. only chooses among
// them (nil: all); tier is the place of their service among those of the domain, −1: the one that they had.
func (l *lookup) revive(only func(*Endpoint) bool, tier int) {
	type server struct {
		host     string
		e        Endpoint
		weight   int
		priority int
	}
	var list []server
	for i := range l.before.endpoints {
		e := &l.before.endpoints[i]
		if only != nil && !only(e) {
			continue
		}
		j := slices.IndexFunc(list, func(s server) bool {
			return s.host == e.Host && s.e.Address.Port() == e.Address.Port() && s.e.Transport == e.Transport && s.e.Priority == e.Priority
		})
		if j < 0 {
			j = len(list)
			list = append(list, server{host: e.Host, e: *e, priority: e.Priority})
			if tier >= 0 {
				list[j].priority = tier<<16 | e.Priority&0xffff
			}
		}
		list[j].weight += e.Weight
	}
	if len(list) > 0 {
		l.by = max(l.by, l.before.by)
	}
	for _, s := range list {
		// Several addresses share a weight and lose the fraction: what the record said is the next whole number.
		l.addresses(s.host, s.e.Address.Port(), s.e.Transport, s.priority, (s.weight+weightScale-1)/weightScale)
	}
}

// remember adds to a host's addresses those that it had before: of a family that could not be asked for, and all where the answer
// has none that is of use. why says what is wrong with an answer.
func (l *lookup) remember(host string, list []netip.Addr, doubtful [2]bool, why error) []netip.Addr {
	none := len(list) == 0
	for i := range l.before.endpoints {
		e := &l.before.endpoints[i]
		a, family := e.Address.Addr(), 0
		if a.Is6() {
			family = 1
		}
		if e.Host != host || !none && !doubtful[family] || slices.Contains(list, a) {
			continue
		}
		if list = append(list, a); why != nil {
			l.doubt(why) // else it has been said already
		}
	}
	return list
}
