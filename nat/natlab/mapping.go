package natlab

import (
	"math/rand/v2"
	"net/netip"
	"time"
)

// inner is what a mapping stands for: a private endpoint and as much of the remote as the box tells apart.
type inner struct{ private, remote netip.AddrPort }

// mapping is one public port.
type mapping struct {
	inner
	port     uint16
	sessions map[netip.AddrPort]*session // by remote; the mapping lives as long as any of them
	swept    int                         // how many there were after the last look for dead ones
}

// session is the traffic between a private endpoint and one remote.
type session struct {
	until time.Duration // since the network's start
	ends  [2]bool       // of streams: who has said goodbye, inside and outside
}

// table is the memory of a box for one protocol.
type table struct {
	byInner map[inner]*mapping
	ports   map[uint16]*mapping
	barred  map[uint16]bool // by Rebind
}

func (t *table) reset() {
	t.byInner, t.ports, t.barred = make(map[inner]*mapping), make(map[uint16]*mapping), nil
}

func (t *table) rebind() {
	old := t.ports
	t.reset()
	t.barred = make(map[uint16]bool, len(old))
	for port := range old {
		t.barred[port] = true
	}
}

// find returns the live mapping of a private endpoint.
func (t *table) find(now time.Duration, k inner) *mapping { return t.alive(now, t.byInner[k]) }

// at returns the live mapping of a public port.
func (t *table) at(now time.Duration, port uint16) *mapping { return t.alive(now, t.ports[port]) }

func (t *table) alive(now time.Duration, m *mapping) *mapping {
	if m == nil {
		return nil
	}
	for _, s := range m.sessions {
		if s.until > now {
			return m
		}
	}
	t.drop(m)
	return nil
}

func (t *table) drop(m *mapping) {
	delete(t.byInner, m.inner)
	delete(t.ports, m.port)
}

// sweep drops the dead.
func (t *table) sweep(now time.Duration) {
	for _, m := range t.ports {
		t.alive(now, m)
	}
}

// add makes a mapping; nil: no port is free.
func (t *table) add(now time.Duration, o *NATOptions, rng *rand.Rand, k inner) *mapping {
	port := t.choose(now, o, rng, k.private.Port())
	if port == 0 {
		return nil
	}
	m := &mapping{inner: k, port: port, sessions: make(map[netip.AddrPort]*session)}
	t.byInner[k], t.ports[port] = m, m
	return m
}

// choose picks a public port; 0: none is free. Ports are never shared (RFC 4787 REQ-3).
func (t *table) choose(now time.Duration, o *NATOptions, rng *rand.Rand, private uint16) uint16 {
	free := func(port int) bool {
		p := uint16(port)
		return !t.barred[p] && (!o.Parity || p&1 == private&1) && t.at(now, p) == nil
	}
	first, last := int(o.Ports[0]), int(o.Ports[1])
	if o.PreservePorts && free(int(private)) {
		return private
	}
	if last < first {
		return 0
	}
	for i, start := 0, rng.IntN(last-first+1); i <= last-first; i++ {
		if p := first + (start+i)%(last-first+1); free(p) {
			return uint16(p)
		}
	}
	return 0
}

// session returns the session with a remote, which it makes if need be.
func (m *mapping) session(now time.Duration, remote netip.AddrPort) *session {
	if s := m.sessions[remote]; s != nil {
		if s.until <= now { // it had been forgotten
			*s = session{}
		}
		return s
	}
	if len(m.sessions) > 2*m.swept+16 {
		for k, s := range m.sessions {
			if s.until <= now {
				delete(m.sessions, k)
			}
		}
		m.swept = len(m.sessions)
	}
	s := &session{}
	m.sessions[remote] = s
	return s
}

// speaks reports a live session with a remote.
func (m *mapping) speaks(now time.Duration, remote netip.AddrPort) bool {
	s := m.sessions[remote]
	return s != nil && s.until > now
}

// joined finds the mapping that a connection uses: likely, or, where the remote has dialled, whichever port it dialled.
func (t *table) joined(now time.Duration, likely *mapping, private, remote netip.AddrPort) *mapping {
	if likely != nil && likely.speaks(now, remote) {
		return likely
	}
	for _, m := range t.ports {
		if m.private == private && m.speaks(now, remote) {
			return m
		}
	}
	return nil
}

// admits reports whether the filter lets a remote in.
func (m *mapping) admits(now time.Duration, f Behaviour, remote netip.AddrPort) bool {
	if m.speaks(now, remote) {
		return true
	}
	if f == AddressAndPortDependent {
		return false
	}
	for known, s := range m.sessions {
		if s.until > now && f.covers(known, remote) {
			return true
		}
	}
	return false
}
