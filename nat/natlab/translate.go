package natlab

import (
	"net/netip"
	"time"
)

// ALG is an application-level gateway: it returns the payload as it shall go on. It must not write into the one it gets.
type ALG func(Translation, []byte) []byte

// Translation is what a box does to the addresses of one datagram.
type Translation struct {
	Out                     bool // from inside to outside
	Private, Public, Remote netip.AddrPort
}

func (b *NAT) table(p *packet) *table {
	if p.segment != nil {
		return &b.tables[1]
	}
	return &b.tables[0]
}

func (b *NAT) timeout(p *packet) time.Duration {
	if p.segment != nil {
		return b.opt.StreamTimeout
	}
	return b.opt.UDPTimeout
}

// forward takes what an inner host sends.
func (b *NAT) forward(p *packet) {
	now := b.net.now()
	if near := b.inside[p.dst.Addr()]; near != nil {
		p.next, p.at = near, now
		b.net.enqueue(p)
		return
	}
	hairpin := p.dst.Addr() == b.public
	if hairpin && !b.opt.Hairpin {
		b.refuse(p, true)
		return
	}
	if !b.outbound(now, p) {
		b.refuse(p, true)
		return
	}
	if hairpin {
		// RFC 4787 REQ-9a: the source is the external endpoint, so the other mapping's filter applies to it.
		p.next, p.at = b, now
		b.net.enqueue(p)
		return
	}
	b.up.forward(p)
}

// outbound gives a packet its public source. It reports false if it may not pass.
func (b *NAT) outbound(now time.Duration, p *packet) bool {
	t, k := b.table(p), inner{p.src, b.opt.Mapping.key(p.dst)}
	m := t.find(now, k)
	switch {
	case p.segment != nil && !p.segment.opens():
		m = t.joined(now, m, p.src, p.dst) // nothing begins in the middle of a connection
	case m == nil && !p.icmp: // an ICMP message makes no mapping (RFC 5508 §4.2)
		m = t.add(now, &b.opt, b.rng, k)
	}
	if m == nil {
		return false
	}
	private := p.src
	p.src = netip.AddrPortFrom(b.public, m.port)
	if p.icmp {
		return true
	}
	b.refresh(now, t, m, p, p.dst, true)
	if p.segment == nil && b.opt.ALG != nil {
		p.data = b.opt.ALG(Translation{Out: true, Private: private, Public: p.src, Remote: p.dst}, p.data)
	}
	return true
}

// receive takes what arrives at the public address.
func (b *NAT) receive(p *packet) {
	now, t := b.net.now(), b.table(p)
	m := t.at(now, p.dst.Port())
	if p.dst.Addr() != b.public || m == nil || !m.admits(now, b.filter(p), p.src) {
		b.refuse(p, false)
		return
	}
	// ICMP neither refreshes nor ends a mapping (RFC 4787 REQ-10, RFC 5508 §3.2).
	if !p.icmp && (b.opt.RefreshInbound || p.segment != nil) {
		b.refresh(now, t, m, p, p.src, false)
	}
	public := p.dst
	p.dst = m.private
	if p.datagram() && b.opt.ALG != nil {
		p.data = b.opt.ALG(Translation{Private: p.dst, Public: public, Remote: p.src}, p.data)
	}
	if to := b.inside[p.dst.Addr()]; to != nil {
		to.receive(p)
	} else {
		p.add(&b.net.count.NoHost)
	}
}

// filter is what the box demands of an incoming packet's source. An ICMP message, and a segment in the middle of a
// connection, must be about a session of its own whatever the kind.
func (b *NAT) filter(p *packet) Behaviour {
	if p.icmp || p.segment != nil && !p.segment.opens() {
		return AddressAndPortDependent
	}
	return b.opt.Filtering
}

// refresh lets a session live on.
func (b *NAT) refresh(now time.Duration, t *table, m *mapping, p *packet, remote netip.AddrPort, out bool) {
	s := m.session(now, remote)
	s.until = now + b.timeout(p)
	g := p.segment
	if g == nil {
		return
	}
	if g.syn {
		s.ends = [2]bool{}
	}
	direction := 0
	if !out {
		direction = 1
	}
	s.ends[direction] = s.ends[direction] || g.fin
	switch {
	case g.rst:
		delete(m.sessions, remote)
		t.alive(now, m)
	case s.ends[0] && s.ends[1]:
		s.until = now + min(closingTimeout, b.opt.StreamTimeout)
	}
}

// refuse drops a packet from inside or outside. A reset answers a segment where the options ask for it.
func (b *NAT) refuse(p *packet, out bool) {
	p.add(&b.net.count.Filtered)
	if p.segment == nil || !b.opt.ResetUnknown {
		return
	}
	g := p.segment.answerReset()
	if g == nil {
		return
	}
	back := &packet{src: p.dst, dst: p.src, segment: g}
	if !out {
		b.up.forward(back)
		return
	}
	if back.next = b.inside[p.src.Addr()]; back.next != nil {
		back.at = b.net.now()
		b.net.enqueue(back)
	}
}
