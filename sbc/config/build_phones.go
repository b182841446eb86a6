package config

import (
	"slices"
	"strings"

	"sallyport/nat"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

func buildPhones(d *Document) Phones {
	p := &d.Phones
	out := Phones{
		Domains: servedDomains(d), Unregistered: p.Unregistered, Outside: p.Registration.Outside.Std(),
		Inside: p.Registration.Inside.Std(), Reauthenticate: p.Registration.Reauthenticate.Std(), Grace: p.Registration.Grace.Std(),
		Contacts: p.Registration.Contacts, PerSource: p.Registration.PerSource, Keepalive: p.Keepalive.Interval.Std(),
		RingTimeout: p.RingTimeout.Std(), SRTP: srtpOf(p.SRTP), DTMF: dtmfOf(p.DTMF),
		Transfer: transferOf(p.Transfer), Codecs: p.Codecs, SessionTimer: p.SessionTimer.Std(), MaxCall: p.MaxCall.Std(),
	}
	out.Calls, out.SourceCalls = p.Capacity.Calls, p.Capacity.PerSource
	out.Latch = map[string]tu.Latch{"strict": tu.LatchStrict, "delayed": tu.LatchDelayed, "off": tu.LatchOff}[p.Latching]
	for _, name := range p.TrustedHeaders {
		out.Trusted = append(out.Trusted, message.CanonicalName(name))
	}
	for _, text := range p.Origins {
		if o, ok := origin6454(text); ok {
			out.Origins = append(out.Origins, o)
		}
	}
	out.Rules = buildRules(&p.Headers, nil, nil, &p.Codes)
	for _, r := range p.Reachable {
		out.Reachable = append(out.Reachable, r.Regexp())
	}
	return out
}

// servedDomains are the hosts that phones may register with: names first, then our addresses as phones see them.
func servedDomains(d *Document) []string {
	var out []string
	add := func(host string) {
		if host = message.PlainHost(host); host != "" && !slices.Contains(out, host) {
			out = append(out, host)
		}
	}
	add(d.PBX.Domain)
	for _, name := range d.Phones.Domains {
		add(name)
	}
	for _, l := range listeners(d) {
		if l.side == nat.Outside && l.realm == nat.Phones {
			add(l.told)
			add(l.advertised.Addr().String())
			add(l.bind.Addr().String())
		}
	}
	return out
}

// plainDomain is a domain as it is compared: names are equal whatever their case, and the dot of the root at the end is
// none of it (RFC 3261 §19.1.4, RFC 1034 §3.1).
func plainDomain(name string) string { return strings.TrimSuffix(strings.ToLower(name), ".") }

// registrar reports whether phones can register: a door on both sides, and a node behind it.
func (d *Document) registrar() bool {
	serves := func(n NodeEntry) bool { return slices.Contains(n.Realms, nat.Phones.String()) }
	return d.Outside.Phones.ports() != Ports{} && d.Inside.Phones.ports() != Ports{} && slices.ContainsFunc(d.PBX.Nodes, serves)
}
