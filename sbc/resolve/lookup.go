package resolve

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"sallyport/nat"
)

// Lookup finds where a target leads to (RFC 3263 §4). The error says why nowhere: a *NoRecordError where name servers say so,
// else that nobody could tell.
func (r *Resolver) Lookup(ctx context.Context, t Target) (Answer, error) {
	return r.lookup(ctx, t, memory{})
}

// lookup is Lookup by somebody who remembers what the target led to before: what cannot be asked now is as it was.
func (r *Resolver) lookup(ctx context.Context, t Target, before memory) (Answer, error) {
	l := lookup{r: r, ctx: ctx, t: t, ttl: ttlMost, before: before}
	if !isHost(t.Host) {
		return Answer{}, errors.New(t.Host + " is not a host name")
	}
	switch {
	case t.Plain:
		l.addresses(t.Host, 0, t.Transport, 0, 0)
	case t.Port != 0:
		// "If the TARGET was not a numeric IP address, but a port is present in the URI, the client performs an A or AAAA record
		// lookup of the domain name" (RFC 3263 §4.2).
		l.addresses(t.Host, t.Port, t.Transport, 0, 0)
	case t.Any:
		l.anyTransport()
	default:
		if !l.servers(service(t.Transport, t.Host), t.Transport, 0) {
			l.bare(t.Transport)
		}
	}
	return l.answer()
}

// lookup is one Lookup under way.
type lookup struct {
	r       *Resolver
	ctx     context.Context
	t       Target
	before  memory
	asked   int
	out     []Endpoint
	by      Source
	fresh   bool // a name server has told an acceptable address
	lowered bool
	refused []string
	refusal error
	ttl     time.Duration
	trouble error // the first thing that could not be asked
	none    error // the last thing that is not there
}

func (l *lookup) answer() (Answer, error) {
	slices.SortFunc(l.out, Endpoint.compare)
	l.out = slices.Compact(l.out)
	a := Answer{
		Endpoints: l.out, By: l.by, TTL: min(max(l.ttl, ttlLeast), ttlMost), Trouble: l.trouble, Refused: l.refused, lowered: l.lowered,
	}
	if l.fresh {
		return a, nil
	}
	a.Endpoints = nil // all that there is has been known before
	return a, cmp.Or(l.trouble, l.refusal, l.none, error(&NoRecordError{Name: l.t.Host, Type: "usable"}))
}

func (e Endpoint) compare(o Endpoint) int {
	return cmp.Or(cmp.Compare(e.Priority, o.Priority), cmp.Compare(e.Transport, o.Transport), e.Address.Compare(o.Address),
		cmp.Compare(o.Weight, e.Weight), cmp.Compare(e.Host, o.Host))
}

// records asks one question of the lookup. It reports false where there is nothing to read; sure: a name server says that.
func (l *lookup) records(name string, qtype uint16) (records []dns.RR, ok, sure bool) {
	if l.asked++; l.asked > questionMost || len(name) > 253 {
		l.doubt(errors.New(l.t.Host + " takes too many questions, or a name of it is too long"))
		return nil, false, false
	}
	f, err := l.r.records(l.ctx, dns.Fqdn(name), qtype)
	if none, is := errors.AsType[*NoRecordError](err); is {
		l.none, l.ttl = none, min(l.ttl, f.ttl)
		return nil, false, true
	}
	if err != nil {
		l.doubt(err)
		return nil, false, false
	}
	l.trouble, l.ttl = cmp.Or(l.trouble, f.trouble), min(l.ttl, f.ttl)
	return f.records, true, false
}

// anyTransport lets the domain say by which transport it is reached (RFC 3263 §4.1).
func (l *lookup) anyTransport() {
	records, ok, sure := l.records(l.t.Host, dns.TypeNAPTR)
	if services := l.services(records); len(services) > 0 {
		l.by = ByNAPTR
		for i, s := range services {
			if !l.servers(s.name, s.transport, i) && l.knew(s.transport) && l.lower(BySRV) {
				l.revive(only(s.transport), i)
			}
		}
		return
	}
	if !ok && !sure || l.lower(ByNAPTR) {
		l.reviveAll() // whoever cannot say which transports there are says nothing of the rest either
		return
	}
	// "If no NAPTR records are found, the client constructs SRV queries for those transport protocols it supports, and does a query
	// for each."
	for _, t := range preferred {
		if l.t.Speaks.Has(t) && l.servers(service(t, l.t.Host), t, 0) {
			return
		}
	}
	// "If no SRV records are found, the client SHOULD use TCP for a SIPS URI, and UDP for a SIP URI."
	l.bare(l.t.Speaks.first())
}

// offered is one way that a domain offers.
type offered struct {
	name      string // of its SRV records
	transport nat.Transport
}

// services reads NAPTR records: "the client discards any that it does not support"; of the others those of the lowest order
// count, by their preference (RFC 3403 §4.1).
func (l *lookup) services(records []dns.RR) (out []offered) {
	var list []*dns.NAPTR
	for _, rr := range records {
		n, ok := rr.(*dns.NAPTR)
		if !ok || !strings.EqualFold(n.Flags, "s") || n.Regexp != "" || !isHost(plain(strings.ToLower(n.Replacement))) {
			continue
		}
		if t, known := transportOf(n.Service); known && l.t.Speaks.Has(t) {
			list = append(list, n)
		}
	}
	slices.SortStableFunc(list, func(a, b *dns.NAPTR) int {
		return cmp.Or(cmp.Compare(a.Order, b.Order), cmp.Compare(a.Preference, b.Preference), strings.Compare(a.Replacement, b.Replacement))
	})
	for _, n := range list {
		t, _ := transportOf(n.Service)
		if way := (offered{plain(strings.ToLower(n.Replacement)), t}); n.Order == list[0].Order && !slices.Contains(out, way) && len(out) < len(preferred) {
			out = append(out, way)
		}
	}
	return out
}

// transportOf reads the service of a NAPTR record (RFC 3263 §4.1).
func transportOf(service string) (nat.Transport, bool) {
	switch strings.ToUpper(service) {
	case "SIP+D2U":
		return nat.UDP, true
	case "SIP+D2T":
		return nat.TCP, true
	case "SIPS+D2T":
		return nat.TLS, true
	}
	return 0, false
}

// servers adds what SRV records lead to. tier is the place of the service among those of the domain. It reports false where
// there are none: the host itself may then be asked for.
func (l *lookup) servers(name string, t nat.Transport, tier int) bool {
	records, ok, sure := l.records(name, dns.TypeSRV)
	if !ok {
		if !sure {
			l.revive(only(t), tier)
		}
		return !sure
	}
	l.by = max(l.by, BySRV)
	var list []*dns.SRV
	for _, rr := range records {
		if s, is := rr.(*dns.SRV); is {
			list = append(list, s)
		}
	}
	slices.SortStableFunc(list, func(a, b *dns.SRV) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(b.Weight, a.Weight), strings.Compare(a.Target, b.Target), cmp.Compare(a.Port, b.Port))
	})
	for _, s := range list[:min(len(list), serversMost)] {
		host := plain(strings.ToLower(s.Target))
		switch {
		case host == ".":
			// "A Target of "." means that the service is decidedly not available at this domain" (RFC 2782).
			l.none = errors.New(l.t.Host + " says by a \".\" in its SRV record that it offers no such service")
		case !isHost(host) || s.Port == 0:
			l.none = errors.New(name + ": an SRV record names no host and port")
		default:
			l.addresses(host, s.Port, t, tier<<16|int(s.Priority), int(s.Weight))
		}
	}
	return len(list) > 0
}

// bare adds the host's own addresses, at the standard port: "If no SRV records were found, the client performs an A or AAAA
// record lookup of the domain name" (RFC 3263 §4.2).
func (l *lookup) bare(t nat.Transport) {
	if l.lower(BySRV) {
		l.reviveAll()
		return
	}
	l.addresses(l.t.Host, defaultPort(t), t, 0, 0)
}

// weightScale lets the addresses of one host share its weight: a host has no more calls for having more addresses.
const weightScale = 240 // divisible by most numbers of addresses

// addresses adds a host's addresses; where the name server does not say which, those that it had before.
func (l *lookup) addresses(host string, port uint16, t nat.Transport, priority, weight int) {
	var list []netip.Addr
	var doubtful [2]bool // IPv4, IPv6
	var why error
	for i, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
		if qtype == dns.TypeA && !l.t.V4 || qtype == dns.TypeAAAA && !l.t.V6 {
			continue
		}
		records, ok, sure := l.records(host, qtype)
		if doubtful[i] = !ok && !sure; sure {
			why = cmp.Or(why, l.none)
		}
		for _, rr := range records {
			a, ok := addressOf(rr)
			if !ok || slices.Contains(list, a) {
				continue
			}
			if refused := l.refuses(netip.AddrPortFrom(a, port)); refused != nil {
				why = refused
				continue
			}
			list = append(list, a)
		}
	}
	l.fresh = l.fresh || len(list) > 0
	list = l.remember(host, list, doubtful, why)
	slices.SortFunc(list, netip.Addr.Compare) // round robin at the name server is no news
	list = list[:min(len(list), addressMost, max(endpointMost-len(l.out), 0))]
	for _, a := range list {
		l.out = append(l.out, Endpoint{
			Address: netip.AddrPortFrom(a, port), Transport: t, Host: host, Priority: priority, Weight: weight * weightScale / len(list),
		})
	}
}

// addressOf is the address that a record holds. IPv4 in IPv6 is IPv4, wherever it comes from.
func addressOf(rr dns.RR) (netip.Addr, bool) {
	var a netip.Addr
	switch x := rr.(type) {
	case *dns.A:
		a, _ = netip.AddrFromSlice(x.A)
	case *dns.AAAA:
		a, _ = netip.AddrFromSlice(x.AAAA)
	}
	a = a.Unmap()
	return a, a.IsValid() && !a.IsUnspecified() && !a.IsMulticast()
}

// isHost reports whether a name can stand for a host or a service: letters, digits, dashes, underscores and dots. What DNS
// allows besides would have to be escaped wherever it is shown.
func isHost(name string) bool {
	if name == "" || len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' {
			return false
		}
		for i := range len(label) {
			if c := label[i]; !(c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
				return false
			}
		}
	}
	return true
}
